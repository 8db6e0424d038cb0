"""Commands for the planner alone: generate a snapshot, plan one."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maestro.errors import InvalidInputError, NotFoundError
from maestro_services.cli.output import JsonOption, emit, emit_json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from maestro.plan import Plan

snapshot_app = typer.Typer(help="Snapshots: what the planner sees at one instant.", no_args_is_help=True)


@snapshot_app.callback()
def _snapshot() -> None:
    """Keep ``generate`` a command of its own under ``snapshot``."""


@snapshot_app.command()
def generate(
    family: Annotated[
        str, typer.Option(help="Kind of snapshot, e.g. contended; a wrong one is answered with the list.")
    ],
    stages: Annotated[int, typer.Option(help="Waiting stages.")],
    accelerators: Annotated[int, typer.Option(help="Accelerators.")],
    seed: Annotated[int, typer.Option(help="Equal seeds give equal snapshots.")] = 0,
) -> None:
    """Print a generated snapshot as JSON."""
    from maestro.snapshot_codec import snapshot_to_dict
    from maestro_solver.planner.generate import generate as generate_snapshot

    emit_json(snapshot_to_dict(generate_snapshot(family, stages, accelerators, seed)))


def plan(  # noqa: PLR0913, PLR0917 - each parameter is an option of the command
    snapshot: Annotated[
        Path | None, typer.Argument(help="A snapshot as JSON; - reads standard input.", show_default=False)
    ] = None,
    instance: Annotated[Path | None, typer.Option(help="Plan a core instance instead.", show_default=False)] = None,
    policy: Annotated[str, typer.Option(help="For an instance: planner, portfolio, or a rule's name.")] = "planner",
    out: Annotated[Path | None, typer.Option(help="For an instance: the plan's file.", show_default=False)] = None,
    limit: Annotated[float, typer.Option(help="Wall-clock limit, seconds.")] = 1.0,
    workers: Annotated[int, typer.Option(help="Threads of the solver.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the solver's random choices.", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Plan a snapshot, or a core instance, and show who runs where, when, and how good the plan is."""
    if (snapshot is None) == (instance is None):
        problem = "both a snapshot and an instance" if snapshot else "neither a snapshot nor an instance"
        raise InvalidInputError("plan", f"was given {problem}", remedy="give SNAPSHOT or --instance FILE")
    if not limit > 0:
        raise InvalidInputError("--limit", "must be positive", value=limit)
    if instance is not None:
        from maestro_services.cli.instance_planning import plan_core_instance
        from maestro_solver.core_instance.result import InstanceConfig

        config = InstanceConfig(limit_s=limit, seed=seed, workers=workers)
        plan_core_instance(_read_json(instance), policy, config, out, as_json=as_json)
    elif snapshot is not None:
        _refuse_instance_options(policy, out)
        _plan_snapshot(snapshot, limit, workers, seed, as_json=as_json)


def _refuse_instance_options(policy: str, out: Path | None) -> None:
    if policy != "planner":
        raise InvalidInputError("--policy", "is for core instances", value=policy, remedy="give --instance FILE")
    if out is not None:
        raise InvalidInputError("--out", "is for core instances", value=str(out), remedy="give --instance FILE")


def _plan_snapshot(snapshot: Path, limit: float, workers: int, seed: int, *, as_json: bool) -> None:
    from maestro.snapshot_codec import plan_to_dict, snapshot_from_dict
    from maestro_solver.planner import PlannerConfig
    from maestro_solver.planner import plan as make_plan

    config = PlannerConfig(limit_s=limit, workers=workers, seed=seed)
    found = make_plan(snapshot_from_dict(_read_json(snapshot)), config, time.monotonic)
    emit(plan_to_dict(found), as_json=as_json, view=_view(found))


def _read_json(path: Path) -> Any:
    """Read a JSON file; raises NotFoundError and InvalidInputError."""
    if str(path) != "-" and not path.is_file():
        raise NotFoundError(f"there is no file {path}")
    text = typer.get_text_stream("stdin").read() if str(path) == "-" else path.read_text()
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"{path}:{error.lineno}", f"is not JSON: {error.msg}") from error


def _view(plan: Plan) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    from maestro_services.cli.status_view import provenance_text

    stages = Table("start", "end", "stage", "model", "accelerator", title="stages", title_justify="left")
    for entry in plan.assignments:
        times = (f"{entry.start_s:.1f} s", f"{entry.end_s:.1f} s")
        stages.add_row(*times, str(entry.stage), entry.model, entry.accelerator)
    models = Table("accelerator", "model", "loads at", "serves from", "until", title="resident", title_justify="left")
    for resident in plan.residencies:
        load = "already there" if resident.initial else f"{resident.load_start_s:.1f} s"
        until = "stays" if resident.end_s is None else f"{resident.end_s:.1f} s"
        models.add_row(resident.accelerator, resident.model, load, f"{resident.ready_s:.1f} s", until)
    terms = ", ".join(f"{name} {value:.4g}" for name, value in plan.provenance.terms.items())
    placed = f"{len(plan.assignments)} stages placed, {len(plan.deferred)} deferred"
    return Group(stages, models, f"{placed}; {provenance_text(plan.provenance)}\nobjective by term: {terms}")
