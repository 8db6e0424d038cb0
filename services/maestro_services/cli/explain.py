"""``maestro explain``: why a plan is as it is, from the files of a snapshot and its plan."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maestro.errors import InvalidInputError
from maestro_services.cli.json_files import read_json
from maestro_services.cli.limits import check_limit
from maestro_services.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from rich.console import RenderableType

    from maestro.snapshot import StageKey
    from maestro_solver.explain import Obstacle, PlaceCost, PlanExplanation, StageExplanation


def explain(
    snapshot: Annotated[Path, typer.Argument(help="The snapshot as JSON; - reads standard input.")],
    plan: Annotated[Path, typer.Argument(help="Its plan, as `maestro plan SNAPSHOT --out PLAN.json` writes it.")],
    stage: Annotated[str | None, typer.Option(help="WORKFLOW/STAGE; none: the plan.", show_default=False)] = None,
    limit: Annotated[float, typer.Option(help="Seconds for finding the price of the weights.")] = 4.0,
    as_json: JsonOption = False,
) -> None:
    """Explain one stage (why here, why not earlier, what elsewhere would cost) or a plan (what each weight costs)."""
    from maestro.snapshot_codec import plan_from_dict, snapshot_from_dict
    from maestro_solver.explain import explain_plan, explain_stage
    from maestro_solver.planner import PlannerConfig

    check_limit(limit)
    given, made = snapshot_from_dict(read_json(snapshot)), plan_from_dict(read_json(plan))
    if stage is None:
        whole = explain_plan(given, made, PlannerConfig(limit_s=limit), time.monotonic)
        emit(asdict(whole), as_json=as_json, view=_plan_view(whole))
    else:
        found = explain_stage(given, made, _stage_key(stage))
        next_best = asdict(found.next_best) if found.next_best else None
        emit(asdict(found) | {"next_best": next_best}, as_json=as_json, view=_stage_view(found))


def _stage_key(text: str) -> StageKey:
    """Read ``workflow/stage``; the stage's name has no slash, the workflow's may."""
    from maestro.snapshot import StageKey

    workflow, slash, stage = text.rpartition("/")
    if not slash or not workflow or not stage:
        raise InvalidInputError("--stage", "is no stage", value=text, remedy="write WORKFLOW/STAGE")
    return StageKey(workflow, stage)


def _plan_view(found: PlanExplanation) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    table = Table("term", "weight", "amount", "unit", "costs", "price", title="weights", title_justify="left")
    for each in found.weights:
        amount = "-" if each.amount is None else f"{each.amount:.4g}"
        table.add_row(each.term, f"{each.weight:g}", amount, each.unit, f"{each.cost:.4g}", f"{each.price:.4g}")
    bindings = ", ".join(f"{binding.replace('_', ' ')} {count}" for binding, count in found.bindings.items())
    price = "price: how much less all other terms cost in a plan made without the weight"
    return Group(table, f"{price}\nwhat keeps stages from starting earlier: {bindings or 'nothing is planned'}")


def _stage_view(found: StageExplanation) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    table = Table("accelerator", "model", "start", "end", "objective", "loads", title="elsewhere", title_justify="left")
    for place in found.others:
        table.add_row(place.accelerator, place.model, *_place_cells(place))
    return Group(_headline(found), *(f"  {_obstacle_text(each)}" for each in found.obstacles), table)


def _headline(found: StageExplanation) -> str:
    why = found.why_here.replace("_", " ")
    if found.start_s is None:
        reason = found.reason.replace("_", " ") if found.reason else "no reason given"
        return f"{found.stage} is deferred: {reason}; elsewhere: if it went before all others"
    where = (
        f"{found.stage} runs as {found.model} on {found.accelerator} from {found.start_s:.2f} s to {found.end_s:.2f} s"
    )
    return f"{where}: {why}\nit could not start before {found.earliest_s:.2f} s:"


def _obstacle_text(obstacle: Obstacle) -> str:
    holders = f" ({', '.join(obstacle.holders)})" if obstacle.holders else ""
    return f"{obstacle.binding.replace('_', ' ')} until {obstacle.until_s:.2f} s{holders}"


def _place_cells(place: PlaceCost) -> tuple[str, str, str, str]:
    if place.objective_change is None:
        why = place.obstacle.replace("_", " ") if place.obstacle else "impossible"
        return "-", "-", f"impossible: {why}", "-"
    return (
        f"{place.start_s:.1f} s",
        f"{place.end_s:.1f} s",
        f"{place.objective_change:+.4g}",
        f"{place.loads:+d}" if place.loads else "0",
    )
