"""The plan in force as a candidate of the next one: shifted to now, and completed by what it does not know yet.

It changes nothing, so that it pays no churn: another plan replaces it only if it is better by more than its changes
cost.
"""

from __future__ import annotations

from collections.abc import Iterator

from maestro.plan import PlanSource
from maestro_solver.heuristics.list_scheduler import ScheduleBuilder, order_keys
from maestro_solver.heuristics.policies import POLICIES
from maestro_solver.instance import Instance
from maestro_solver.planner.candidate import Candidate, judge
from maestro_solver.planner.carrying import Carrying

IN_FORCE = "in_force"
"""Name of the policy of a plan that goes on with the one in force."""

_REST = "wspt+hopeless_last"
"""The order in which stages get a place that have none in the plan in force."""


def warm_start(instance: Instance) -> Iterator[Candidate]:
    """The plan in force with all other stages placed after it; nothing where there is none."""
    if not instance.kept_places and not instance.kept_loads:
        return
    carrying = Carrying(instance)
    carrying.carry_out(instance.snapshot.in_force)
    builder = ScheduleBuilder(instance, carrying.state, patience=1.0)
    builder.keep(carrying.spans, carrying.options)
    builder.place_all(order_keys(instance, POLICIES[_REST]))
    yield judge(instance, builder.schedule(), PlanSource.PORTFOLIO, IN_FORCE)
