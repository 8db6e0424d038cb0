"""``maestro serve``: one scheduler."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from maestro_services.cli.service import LogLevel, LogLevelOption, run_service


def serve(
    scenario: Annotated[Path, typer.Argument(help="The scenario file.")],
    log_level: LogLevelOption = LogLevel.INFO,
) -> None:
    """Run a scheduler until SIGINT or SIGTERM; it takes over what its store holds."""
    from maestro.scenario import load
    from maestro_services.scheduler.serve import serve as serve_scheduler
    from maestro_services.scheduler.settings import settings_of

    settings = settings_of(load(scenario))
    run_service(partial(serve_scheduler, settings), log_level)
