"""Commands for the planner alone: generate a snapshot, plan one."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maestro.errors import InvalidInputError
from maestro.fleet import place_text
from maestro_services.cli.json_files import read_json, write_json
from maestro_services.cli.limits import check_limit
from maestro_services.cli.output import JsonOption, emit, emit_json
from maestro_services.cli.policy_names import few_policies_named

if TYPE_CHECKING:
    from rich.console import RenderableType

    from maestro.plan import Assignment, Plan, Residency
    from maestro.snapshot import Snapshot
    from maestro_solver.planner import PlannerConfig
    from maestro_solver.planner.reporting import PlanReport

snapshot_app = typer.Typer(help="Snapshots: what the planner sees at one instant.", no_args_is_help=True)


@snapshot_app.callback()
def _snapshot() -> None:
    """Keep ``generate`` a command of its own under ``snapshot``."""


@snapshot_app.command()
def generate(
    family: Annotated[str, typer.Option(help="Kind of snapshot; a wrong one is answered with the list.")] = "contended",
    stages: Annotated[int | None, typer.Option(help="Waiting stages; by default the family's usual number.")] = None,
    accelerators: Annotated[
        int | None, typer.Option(help="Accelerators; by default the family's usual number.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal snapshots.")] = 0,
    _as_json: JsonOption = False,
) -> None:
    """Print a generated snapshot as JSON; with --json errors are JSON, too."""
    from maestro.snapshot_codec import snapshot_to_dict
    from maestro_solver.planner.generate import generate as generate_snapshot

    emit_json(snapshot_to_dict(generate_snapshot(family, stages, accelerators, seed)))


def plan(  # noqa: PLR0913, PLR0917 - each parameter is an option of the command
    snapshot: Annotated[
        Path | None, typer.Argument(help="A snapshot as JSON; - reads standard input.", show_default=False)
    ] = None,
    instance: Annotated[Path | None, typer.Option(help="Plan a core instance instead.", show_default=False)] = None,
    policy: Annotated[str, typer.Option(help="planner, portfolio, or one policy's name.")] = "planner",
    out: Annotated[Path | None, typer.Option(help="Write the plan to this file, as JSON.", show_default=False)] = None,
    limit: Annotated[float, typer.Option(help="Wall-clock limit, seconds.")] = 1.0,
    workers: Annotated[int, typer.Option(help="Threads of the solver.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the solver's random choices.", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Plan a snapshot, or a core instance, and show who runs where, when, and how good the plan is."""
    if (snapshot is None) == (instance is None):
        problem = "both a snapshot and an instance" if snapshot else "neither a snapshot nor an instance"
        raise InvalidInputError("plan", f"was given {problem}", remedy="give SNAPSHOT or --instance FILE")
    check_limit(limit)
    if instance is not None:
        from maestro_services.cli.instance_planning import plan_core_instance
        from maestro_solver.core_instance.result import InstanceConfig

        config = InstanceConfig(limit_s=limit, seed=seed, workers=workers)
        with few_policies_named():
            plan_core_instance(read_json(instance), policy, config, out, as_json=as_json)
    elif snapshot is not None:
        from maestro_solver.planner import PlannerConfig

        planner_config = PlannerConfig(limit_s=limit, workers=workers, seed=seed)
        with few_policies_named():
            _plan_snapshot(snapshot, policy, planner_config, out, as_json=as_json)


def _plan_snapshot(snapshot: Path, policy: str, config: PlannerConfig, out: Path | None, *, as_json: bool) -> None:
    from maestro.snapshot_codec import plan_to_dict, snapshot_from_dict
    from maestro_solver.planner.answering import plan_by
    from maestro_solver.planner.reporting import report_on
    from maestro_solver.warm import warm

    given = snapshot_from_dict(read_json(snapshot))
    warm()
    found = plan_by(policy, given, config, time.monotonic)
    report = report_on(given, found, policy)
    if out is not None:
        write_json(out, plan_to_dict(found))
    emit({**asdict(report), "plan": plan_to_dict(found)}, as_json=as_json, view=_view(given, found, report))


def _view(snapshot: Snapshot, plan: Plan, report: PlanReport) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    from maestro_services.cli.status_view import provenance_text

    stages = Table("start", "end", "stage", "model", "accelerator", title="stages", title_justify="left")
    for entry in plan.assignments:
        times = (f"{entry.start_s:.1f} s", f"{entry.end_s:.1f} s")
        stages.add_row(*times, str(entry.stage), entry.model, _place(snapshot, entry))
    models = Table("accelerator", "model", "loads at", "serves from", "until", title="resident", title_justify="left")
    for resident in plan.residencies:
        load = "already there" if resident.initial else f"{resident.load_start_s:.1f} s"
        until = "stays" if resident.end_s is None else f"{resident.end_s:.1f} s"
        models.add_row(_place(snapshot, resident), resident.model, load, f"{resident.ready_s:.1f} s", until)
    terms = ", ".join(f"{name} {value:.4g}" for name, value in plan.provenance.terms.items())
    verdict = "checked" if report.checked else f"REJECTED by the checker: {report.violations[0]}"
    done = f"{len(plan.assignments)} stages placed, {len(plan.deferred)} deferred, {report.swaps} loads, {verdict}"
    return Group(stages, models, f"{done}; {provenance_text(plan.provenance)}\nobjective by term: {terms}")


def _place(snapshot: Snapshot, entry: Assignment | Residency) -> str:
    """Return all the accelerators that a replica takes."""
    return place_text(*snapshot.members(entry.model, entry.accelerator))
