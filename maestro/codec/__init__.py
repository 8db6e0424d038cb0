"""Between the domain and the wire: every function turns one domain value into its protobuf message or back.

What a message says that the domain has no word for is an InvalidInputError naming the field; nothing else is checked.
"""

from maestro.codec.events import event_from_proto, event_to_proto
from maestro.codec.fleet import replica_phase_from_proto, replica_phase_to_proto
from maestro.codec.plan import plan_from_proto, plan_to_proto
from maestro.codec.status import (
    stage_status_from_proto,
    stage_status_to_proto,
    workflow_state_from_proto,
    workflow_state_to_proto,
    workflow_status_from_proto,
    workflow_status_to_proto,
)
from maestro.codec.workflow import (
    messages_from_proto,
    messages_to_proto,
    sampling_from_proto,
    sampling_to_proto,
    workflow_from_proto,
    workflow_to_proto,
)

__all__ = [
    "event_from_proto",
    "event_to_proto",
    "messages_from_proto",
    "messages_to_proto",
    "plan_from_proto",
    "plan_to_proto",
    "replica_phase_from_proto",
    "replica_phase_to_proto",
    "sampling_from_proto",
    "sampling_to_proto",
    "stage_status_from_proto",
    "stage_status_to_proto",
    "workflow_from_proto",
    "workflow_state_from_proto",
    "workflow_state_to_proto",
    "workflow_status_from_proto",
    "workflow_status_to_proto",
    "workflow_to_proto",
]
