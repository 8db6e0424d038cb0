"""Which scheduler a command talks to."""

from __future__ import annotations

from typing import Annotated

import typer

DEFAULT_SERVER = "127.0.0.1:50050"

ServerOption = Annotated[
    str, typer.Option("--server", envvar="MAESTRO_SERVER", metavar="HOST:PORT", help="The scheduler's address.")
]
