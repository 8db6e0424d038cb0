"""Commands for operators: the state of everything, and draining a node."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import typer

from maestro_services.cli.connection import DEFAULT_SERVER, ServerOption
from maestro_services.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from maestro.status import WorkflowStatus
    from maestro_services.cli.status_view import StatusReport

_AWAY = ("absent", "lost")


def status(
    workflows: Annotated[int, typer.Option(help="Show so many of the newest workflows.", min=0)] = 20,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """Show nodes, workflows, the plan in force with where it came from, and how well lengths are forecast."""
    from maestro_services.cli.status_view import status_view

    report = asyncio.run(_gather(server, workflows))
    emit(report, as_json=as_json, view=status_view(report))


def drain(
    node: Annotated[str, typer.Argument(help="Name of the node.")],
    undo: Annotated[bool, typer.Option("--undo", help="Let it take work again.")] = False,
    server: ServerOption = DEFAULT_SERVER,
    as_json: JsonOption = False,
) -> None:
    """Let a node finish what runs and take nothing new."""
    from maestro_services.cli.fleet_client import drain_node

    state = asyncio.run(drain_node(server, node, undrain=undo))
    later = "" if undo or state not in _AWAY else "; it takes no work when it comes, until `maestro drain --undo`"
    emit({"node": node, "state": state}, as_json=as_json, view=f"{node}: {state}{later}")


async def _gather(server: str, limit: int) -> StatusReport:
    """Ask the scheduler for everything."""
    from maestro.client import AsyncClient
    from maestro.status import WorkflowState
    from maestro_services.cli.fleet_client import list_nodes
    from maestro_services.cli.status_view import StatusReport

    async with AsyncClient(server) as client:
        nodes = await list_nodes(server)
        newest: list[WorkflowStatus] = []
        async for workflow in client.list():
            if len(newest) >= limit:
                break
            newest.append(await client.get(workflow.id))  # lists are without stages
        is_idle = await anext(client.list(state=WorkflowState.ACTIVE), None) is None
        return StatusReport(nodes, tuple(newest), await client.plan(), await client.predictor(), is_idle, time.time())
