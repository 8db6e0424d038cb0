"""``maestro node``: the agent of one machine."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from maestro_services.cli.service import LogLevel, LogLevelOption, run_service


def node(
    scenario: Annotated[Path, typer.Option(help="The scenario file.")],
    name: Annotated[str, typer.Option(help="Name of the node in the scenario.")],
    scheduler: Annotated[
        str | None, typer.Option(help="host:port of the scheduler; default: scheduler.listen of the scenario.")
    ] = None,
    log_level: LogLevelOption = LogLevel.INFO,
) -> None:
    """Run the agent of one node until SIGINT or SIGTERM; its engines end with it."""
    from maestro.address import check_address
    from maestro.scenario import load
    from maestro_node.server.serve import serve
    from maestro_services.cli.wiring import node_config

    loaded = load(scenario)
    address = loaded.scheduler.listen if scheduler is None else check_address("--scheduler", scheduler)
    config = node_config(loaded, name, scenario, address)
    run_service(partial(serve, config), log_level)
