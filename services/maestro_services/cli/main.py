"""The ``maestro`` command."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from maestro_services.cli import model, predictor, trace
from maestro_services.cli.check import check
from maestro_services.cli.demo import demo
from maestro_services.cli.down import down
from maestro_services.cli.explain import explain
from maestro_services.cli.group import MaestroGroup
from maestro_services.cli.node import node
from maestro_services.cli.operations import drain, status
from maestro_services.cli.output import console
from maestro_services.cli.planning import plan, snapshot_app
from maestro_services.cli.schema import schema
from maestro_services.cli.serve import serve
from maestro_services.cli.simulate import simulate
from maestro_services.cli.solve import solve
from maestro_services.cli.up import up
from maestro_services.cli.workflows import cancel, complete, show, submit, watch

# gRPC reads this when it is first used. No command calls it in a forked child, and with it every start of a child
# process would be a line on standard error.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        console().print(f"maestro {version('maestro-llm')}")
        raise typer.Exit


app = typer.Typer(
    cls=MaestroGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Schedules multi-agent LLM workflows on private GPU clusters.",
    epilog="Exit codes: 0 done, 1 failed, 2 invalid input, 3 infeasible, 4 timed out, 5 unreachable, 130 interrupted.",
)


@app.callback()
def maestro(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Schedule multi-agent LLM workflows on private GPU clusters."""


OPERATING = (up, down, serve, node, submit, watch, show, status, cancel, complete, drain)
PREPARING = (check, schema, plan, explain, solve, simulate, demo)
for command in (*OPERATING, *PREPARING):
    app.command()(command)
app.add_typer(snapshot_app, name="snapshot")
app.add_typer(model.app, name="model")
app.add_typer(predictor.app, name="predictor")
app.add_typer(trace.app, name="trace")
