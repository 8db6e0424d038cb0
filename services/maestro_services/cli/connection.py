"""Which scheduler a command talks to."""

from __future__ import annotations

from typing import Annotated

import typer

from maestro.address import DEFAULT_SCHEDULER_ADDRESS, check_address

DEFAULT_SERVER = DEFAULT_SCHEDULER_ADDRESS


def _checked(address: str) -> str:
    return check_address("--server", address)


ServerOption = Annotated[
    str,
    typer.Option(
        "--server",
        envvar="MAESTRO_SERVER",
        metavar="HOST:PORT",
        help="The scheduler's address.",
        callback=_checked,
    ),
]
