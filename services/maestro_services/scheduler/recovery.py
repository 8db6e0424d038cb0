"""What an earlier scheduler had accepted and not ended, from the store back into the core's terms."""

from __future__ import annotations

from maestro.codec import stage_status_from_proto, workflow_from_proto, workflow_status_from_proto
from maestro.v1 import workflow_pb2
from maestro_services.scheduler.core.restoring import RestoredWorkflow
from maestro_services.scheduler.store import StoredWorkflow


def recovered_workflow(stored: StoredWorkflow) -> RestoredWorkflow:
    """A stored workflow as the core takes it back."""
    status = workflow_status_from_proto(stored.status)
    return RestoredWorkflow(
        id=status.id,
        spec=workflow_from_proto(workflow_pb2.Workflow.FromString(stored.payload)),
        slo_class=status.slo_class,
        accepted_at_s=status.accepted_at_s,
        deadline_at_s=status.deadline_at_s,
        stages={name: stage_status_from_proto(stage) for name, stage in stored.stages.items()},
    )


def whole_status(stored: StoredWorkflow) -> workflow_pb2.WorkflowStatus:
    """A stored workflow's status with all its stages, those that never changed included."""
    status = workflow_pb2.WorkflowStatus()
    status.CopyFrom(stored.status)
    del status.stages[:]
    for stage in workflow_pb2.Workflow.FromString(stored.payload).stages:
        known = stored.stages.get(stage.id)
        if known is not None:
            status.stages.append(known)
        else:
            role = stage.llm.role if stage.HasField("llm") else stage.tool.name
            status.stages.add(id=stage.id, state=workflow_pb2.STAGE_STATE_WAITING, role=role)
    return status
