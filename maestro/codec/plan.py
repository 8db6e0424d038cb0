"""Plans as people and tools read them, both ways."""

from __future__ import annotations

from maestro.codec.scalars import instant_from_proto, instant_to_proto, reason_from_proto
from maestro.errors import InvalidInputError
from maestro.plan import Assignment, Deferral, Plan, PlanSource, Provenance, Residency, SolveStatus
from maestro.snapshot import StageKey
from maestro.v1 import scheduler_pb2 as pb


def plan_to_proto(plan: Plan, made_at_s: float) -> pb.Plan:
    """Encode a plan; ``made_at_s`` is the instant its times count from, in seconds since the Unix epoch."""
    return pb.Plan(
        made_at=instant_to_proto(made_at_s),
        horizon_s=plan.horizon_s,
        stages=[
            pb.PlannedStage(
                workflow_id=planned.stage.workflow,
                stage_id=planned.stage.stage,
                accelerator=planned.accelerator,
                model=planned.model,
                start_s=planned.start_s,
                end_s=planned.end_s,
                kv_bytes=planned.kv_bytes,
            )
            for planned in plan.assignments
        ],
        residencies=[
            pb.PlannedResidency(
                accelerator=residency.accelerator,
                model=residency.model,
                load_start_s=residency.load_start_s,
                ready_s=residency.ready_s,
                end_s=residency.end_s,
                initial=residency.initial,
                kv_pool_bytes=residency.kv_pool_bytes,
            )
            for residency in plan.residencies
        ],
        deferred=[
            pb.DeferredStage(workflow_id=deferral.stage.workflow, stage_id=deferral.stage.stage, reason=deferral.reason)
            for deferral in plan.deferred
        ],
        provenance=_provenance_to_proto(plan.provenance),
    )


def plan_from_proto(message: pb.Plan) -> Plan:
    """Decode a plan; its ``taken_at_s`` is in seconds since the Unix epoch."""
    return Plan(
        taken_at_s=instant_from_proto(message.made_at),
        horizon_s=message.horizon_s,
        assignments=tuple(
            Assignment(
                StageKey(planned.workflow_id, planned.stage_id),
                planned.accelerator,
                planned.model,
                planned.start_s,
                planned.end_s,
                planned.kv_bytes,
            )
            for planned in message.stages
        ),
        residencies=tuple(
            Residency(
                accelerator=residency.accelerator,
                model=residency.model,
                load_start_s=residency.load_start_s,
                ready_s=residency.ready_s,
                end_s=residency.end_s if residency.HasField("end_s") else None,
                initial=residency.initial,
                kv_pool_bytes=residency.kv_pool_bytes,
            )
            for residency in message.residencies
        ),
        deferred=tuple(_deferral_from_proto(deferral) for deferral in message.deferred),
        provenance=_provenance_from_proto(message.provenance),
    )


def _deferral_from_proto(message: pb.DeferredStage) -> Deferral:
    reason = reason_from_proto(message.reason, "deferred.reason")
    if reason is None:
        raise InvalidInputError("deferred.reason", "is empty")
    return Deferral(StageKey(message.workflow_id, message.stage_id), reason)


def _provenance_to_proto(provenance: Provenance) -> pb.Provenance:
    return pb.Provenance(
        snapshot_version=provenance.snapshot_version,
        source=provenance.source,
        status=provenance.status,
        objective=provenance.objective,
        terms=dict(provenance.terms),
        bound=provenance.bound,
        gap=provenance.gap,
        build_s=provenance.build_s,
        solve_s=provenance.solve_s,
        total_s=provenance.total_s,
        fallback_reason=provenance.fallback_reason or "",
        policy=provenance.policy,
        portfolio_objective=provenance.portfolio_objective,
        notes=provenance.notes,
    )


def _provenance_from_proto(message: pb.Provenance) -> Provenance:
    try:
        source, status = PlanSource(message.source), SolveStatus(message.status)
    except ValueError as error:
        raise InvalidInputError("provenance", str(error), remedy="use matching versions") from error
    return Provenance(
        snapshot_version=message.snapshot_version,
        source=source,
        status=status,
        objective=message.objective,
        terms=dict(message.terms),
        bound=message.bound if message.HasField("bound") else None,
        gap=message.gap if message.HasField("gap") else None,
        build_s=message.build_s,
        solve_s=message.solve_s,
        total_s=message.total_s,
        fallback_reason=reason_from_proto(message.fallback_reason, "provenance.fallback_reason"),
        policy=message.policy,
        portfolio_objective=message.portfolio_objective if message.HasField("portfolio_objective") else None,
        notes=message.notes,
    )
