"""A candidate plan: what starts within the horizon, judged by the one evaluator and the checker."""

from __future__ import annotations

from dataclasses import dataclass, replace

from maestro.plan import Plan, PlanSource, Provenance, SolveStatus
from maestro.reasons import Reason
from maestro_solver.check import Violation, check
from maestro_solver.heuristics.continuation import continued
from maestro_solver.instance import Instance
from maestro_solver.objective import Evaluation, evaluate
from maestro_solver.schedule import Schedule, assignments, deferrals, residencies


@dataclass(frozen=True, slots=True)
class Candidate:
    """``planned`` is what starts within the horizon, ``complete`` the same continued until every stage has a place."""

    planned: Schedule
    complete: Schedule
    evaluation: Evaluation
    source: PlanSource
    policy: str = ""

    @property
    def objective(self) -> float:
        """What the candidate costs."""
        return self.evaluation.objective


def judge(instance: Instance, schedule: Schedule, source: PlanSource, policy: str = "") -> Candidate:
    """Cut a schedule at the horizon, and evaluate it by the better of two ways to go on from there.

    One is the fixed policy from the plan's last state; the other is the schedule's own, where it places everything.
    Both can be carried out, so that neither makes the plan look better than it is.
    """
    planned = schedule.within(instance.horizon)
    complete = continued(instance, planned) if len(planned.spans) < len(instance.stages) else planned
    planned = replace(planned, unplaced={**planned.unplaced, **complete.unplaced})
    best = Candidate(planned, complete, evaluate(instance, complete), source, policy)
    if Reason.DEFERRED_BEYOND_HORIZON in schedule.unplaced.values():
        return best
    own = Candidate(planned, schedule, evaluate(instance, schedule), source, policy)
    return min(best, own, key=lambda candidate: candidate.objective)


def judge_complete(instance: Instance, schedule: Schedule, source: PlanSource, policy: str = "") -> Candidate:
    """The same for a schedule that places everything that can be placed, which goes on its own way."""
    planned = schedule.within(instance.horizon)
    return Candidate(planned, schedule, evaluate(instance, schedule), source, policy)


def as_plan(instance: Instance, candidate: Candidate, provenance: Provenance | None = None) -> Plan:
    """The candidate in seconds and names."""
    return Plan(
        taken_at_s=instance.snapshot.taken_at_s,
        horizon_s=instance.grid.seconds(instance.horizon),
        assignments=tuple(assignments(instance, candidate.planned)),
        residencies=tuple(residencies(instance, candidate.planned)),
        deferred=tuple(deferrals(instance, candidate.planned)),
        provenance=provenance or plain_provenance(instance, candidate),
    )


def plain_provenance(instance: Instance, candidate: Candidate) -> Provenance:
    """Where a candidate comes from and what it costs, before anything is known of the rest."""
    return Provenance(
        snapshot_version=instance.snapshot.version,
        source=candidate.source,
        status=SolveStatus.FEASIBLE if candidate.source is PlanSource.CP_SAT else SolveStatus.HEURISTIC,
        objective=candidate.objective,
        terms=candidate.evaluation.terms,
        policy=candidate.policy,
    )


def violations(instance: Instance, candidate: Candidate) -> tuple[Violation, ...]:
    """What the checker finds wrong with the candidate."""
    return check(instance.snapshot, as_plan(instance, candidate))
