"""``maestro solve``: which models, how many replicas and where, for a scenario's demand on N accelerators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maestro.fleet import place_text
from maestro_services.cli.limits import check_limit
from maestro_services.cli.output import JsonOption, emit, notices
from maestro_services.cli.wording import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from maestro.scenario import Scenario
    from maestro_solver.capacity import CapacityPlan, PlannedReplica

_ALL = 1.0 - 1e-9


def solve(
    scenario: Annotated[Path, typer.Argument(help="A scenario with a workload section.")],
    budget: Annotated[int, typer.Option(help="Accelerators that may be used.", min=0)],
    limit: Annotated[float, typer.Option(help="Wall-clock limit, seconds.")] = 30.0,
    as_json: JsonOption = False,
) -> None:
    """Plan the replicas for a steady demand; ends with 3 where the budget cannot serve it, saying what would."""
    from maestro.errors import DeadlineExceededError, InfeasibleError
    from maestro.scenario import load
    from maestro_services.cli.wiring import capacity_problem
    from maestro_solver.capacity import CapacityStatus
    from maestro_solver.capacity import solve as solve_capacity

    check_limit(limit, "solving")
    loaded = load(scenario)
    problem, fleet_size = capacity_problem(loaded), sum(1 for _ in loaded.fleet.accelerators())
    if budget > fleet_size:
        whole = counted(fleet_size, "accelerator")
        notices().print(f"the fleet has {whole}: a budget of {budget} is one of {fleet_size}", soft_wrap=True)
    plan = solve_capacity(problem, min(budget, fleet_size), limit)
    emit(plan, as_json=as_json, view=_view(plan, loaded))
    if plan.status is CapacityStatus.INFEASIBLE:
        raise InfeasibleError(_why(plan))
    if plan.status is CapacityStatus.UNKNOWN:
        asked = counted(plan.budget, "accelerator")
        raise DeadlineExceededError(f"whether {asked} suffice was not found out in {limit:g} s")


def _why(plan: CapacityPlan) -> str:
    """Return why not all is served, and every demand that is not."""
    reason = plan.shortfall.reason if plan.shortfall else "the demand cannot be served"
    short = [f"{demand} {share:.0%}" for demand, share in plan.served.items() if share < _ALL]
    return f"{reason}; served in part: {', '.join(short)}" if len(short) > 1 else reason


def _title(plan: CapacityPlan) -> str:
    """Return the answer in a line; where not all can be served, what serving all takes is the error's to say."""
    from maestro_solver.capacity import CapacityStatus

    used = f"{plan.accelerators_used} of {counted(plan.budget, 'accelerator')}"
    if plan.status is CapacityStatus.INFEASIBLE:
        return f"{plan.status}: not all demand can be served by {counted(plan.budget, 'accelerator')}"
    return f"{plan.status}: {used} (proven to need at least {plan.accelerators_bound})"


def _view(plan: CapacityPlan, scenario: Scenario) -> RenderableType:
    from rich.table import Table

    title = f"{_title(plan)}, {plan.seconds:.2f} s"
    table = Table("cluster", "node", "accelerator", "model", "batch", "load", "requests/s", title=title)
    for replica in plan.replicas:
        rates = ", ".join(f"{demand} {rate:.3g}" for demand, rate in replica.requests_per_s.items())
        table.add_row(
            replica.cluster,
            replica.node,
            _place(replica, scenario),
            replica.model,
            str(replica.batch),
            f"{replica.load:.0%}",
            rates,
        )
    table.caption = "served: " + ", ".join(f"{demand} {share:.0%}" for demand, share in plan.served.items())
    return table


def _place(replica: PlannedReplica, scenario: Scenario) -> str:
    """Return all the accelerators that a replica takes."""
    size = scenario.model_specs[replica.model].tensor_parallel_size
    groups = scenario.nodes[replica.node].spec.groups(size)
    return next(place_text(*members) for members in groups if members[0] == replica.accelerator)
