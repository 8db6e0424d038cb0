"""The questions that can be asked about a plan, and their answers put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from maestro.errors import InvalidInputError, NotFoundError
from maestro.plan import Plan
from maestro.snapshot import Snapshot, StageKey
from maestro_solver.check import check
from maestro_solver.explain.data import Binding, PlaceCost, PlanExplanation, StageExplanation, WhyHere
from maestro_solver.explain.places import Places
from maestro_solver.explain.timing import timing
from maestro_solver.explain.weights import weight_prices
from maestro_solver.planner import PlannerConfig

_EQUAL: Final = 1e-6
"""Changes of the objective smaller than this are none."""


def explain_stage(snapshot: Snapshot, plan: Plan, key: StageKey, tick_s: float = 0.25) -> StageExplanation:
    """Why the stage is where it is, why not earlier, and what the other places would cost.

    ``tick_s`` is the grid on which the plan was made. Raises NotFoundError for a stage that does not wait for an
    accelerator in the snapshot, InvalidInputError for a plan that is not a valid one for it.
    """
    _require_valid(snapshot, plan)
    if not any(stage.key == key and stage.external_s is None for stage in snapshot.waiting):
        raise NotFoundError(f"the snapshot has no waiting LLM stage {key}")
    others = Places(snapshot, plan, tick_s).others(key)
    assignment = next((found for found in plan.assignments if found.stage == key), None)
    if assignment is None:
        reason = next(found.reason for found in plan.deferred if found.stage == key)
        return StageExplanation(stage=key, why_here=WhyHere.DEFERRED, reason=reason, others=others)
    found = timing(snapshot, plan, assignment, tick_s)
    return StageExplanation(
        stage=key,
        why_here=_why_here(others),
        accelerator=assignment.accelerator,
        model=assignment.model,
        start_s=assignment.start_s,
        end_s=assignment.end_s,
        earliest_s=found.earliest_s,
        obstacles=found.obstacles,
        others=others,
    )


def explain_plan(snapshot: Snapshot, plan: Plan, config: PlannerConfig, clock: Callable[[], float]) -> PlanExplanation:
    """The price of each weight, and for how many planned stages each thing binds.

    ``config`` says how the plans without each weight are found, within ``config.limit_s`` seconds of ``clock`` in
    all. Raises InvalidInputError for a plan that is not valid.
    """
    _require_valid(snapshot, plan)
    bindings: Counter[Binding] = Counter()
    for assignment in plan.assignments:
        bindings.update({found.binding for found in timing(snapshot, plan, assignment, config.tick_s).obstacles})
    return PlanExplanation(
        objective=plan.provenance.objective,
        bound=plan.provenance.bound,
        weights=weight_prices(snapshot, plan, config, clock),
        bindings=dict(bindings.most_common()),
    )


def _require_valid(snapshot: Snapshot, plan: Plan) -> None:
    if broken := check(snapshot, plan):
        raise InvalidInputError(
            "plan", f"is not a valid plan for the snapshot: {broken[0]}", remedy="give the snapshot it was made for"
        )


def _why_here(others: tuple[PlaceCost, ...]) -> WhyHere:
    changes = [place.objective_change for place in others if place.objective_change is not None]
    if not changes:
        return WhyHere.ONLY_PLACE
    if min(changes) > _EQUAL:
        return WhyHere.CHEAPEST
    return WhyHere.AS_CHEAP if min(changes) >= -_EQUAL else WhyHere.NOT_CHEAPEST
