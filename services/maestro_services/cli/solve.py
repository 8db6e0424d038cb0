"""``maestro solve``: which models, how many replicas and where, for a scenario's demand on N accelerators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maestro_services.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from rich.console import RenderableType

    from maestro_solver.capacity import CapacityPlan


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

    plan = solve_capacity(capacity_problem(load(scenario)), budget, limit)
    emit(plan, as_json=as_json, view=_view(plan))
    if plan.status is CapacityStatus.INFEASIBLE:
        raise InfeasibleError(plan.shortfall.reason if plan.shortfall else "the demand cannot be served")
    if plan.status is CapacityStatus.UNKNOWN:
        raise DeadlineExceededError(f"whether {budget} accelerators suffice was not found out in {limit:g} s")


def _view(plan: CapacityPlan) -> RenderableType:
    from rich.table import Table

    title = (
        f"{plan.status}: {plan.accelerators_used} of {plan.budget} accelerators "
        f"(proven to need at least {plan.accelerators_bound}), {plan.seconds:.2f} s"
    )
    table = Table("cluster", "node", "accelerator", "model", "batch", "load", "requests/s", title=title)
    for replica in plan.replicas:
        rates = ", ".join(f"{demand} {rate:.3g}" for demand, rate in replica.requests_per_s.items())
        table.add_row(
            replica.cluster,
            replica.node,
            replica.accelerator,
            replica.model,
            str(replica.batch),
            f"{replica.load:.0%}",
            rates,
        )
    table.caption = "served: " + ", ".join(f"{demand} {share:.0%}" for demand, share in plan.served.items())
    return table
