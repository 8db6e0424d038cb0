"""The store's ended workflows, read beside the scheduler that owns it, or after it has stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, create_engine, func, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from maestro.codec import stage_status_from_proto, workflow_from_proto, workflow_status_from_proto
from maestro.errors import InvalidInputError
from maestro.status import StageStatus, WorkflowStatus
from maestro.v1 import scheduler_pb2, workflow_pb2
from maestro.workflow import WorkflowSpec
from maestro_services.scheduler.store.tables import transitions, workflows

_EVENTS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class EndedWorkflow:
    """A workflow that has ended: what was submitted, what became of it, and the sequence number of its end."""

    sequence: int
    spec: WorkflowSpec
    status: WorkflowStatus


class Archive:
    """Reads a store and never writes to it. What it gives may be a moment ahead of what is durable."""

    def __init__(self, path: Path) -> None:
        """``path`` is the store's file; raises InvalidInputError where there is none."""
        if not path.is_file():
            remedy = "start the scheduler once, or name the scenario it runs with"
            raise InvalidInputError("scheduler.store", "is not there", value=str(path), remedy=remedy)
        self._path = path
        self._engine = create_engine(f"sqlite:///file:{path.resolve()}?mode=ro&uri=true", poolclass=NullPool)

    def first_accepted_at_s(self) -> float | None:
        """When the first workflow was accepted, epoch seconds; None in an empty store."""
        with self._reading() as reader:
            first: float | None = reader.scalar(select(func.min(workflows.c.accepted_at_s)))
        return first

    def ended(self, after_sequence: int = 0) -> Iterator[EndedWorkflow]:
        """Yield the workflows that ended after a sequence number, in the order of their ends; one at a time is held."""
        while True:
            with self._reading() as reader:
                events = reader.execute(
                    select(transitions.c.sequence, transitions.c.workflow_id, transitions.c.event)
                    .where(transitions.c.sequence > after_sequence)
                    .order_by(transitions.c.sequence)
                    .limit(_EVENTS_AT_ONCE)
                ).all()
                for sequence, workflow_id, event in events:
                    end = _end(event)
                    if end is not None:
                        status = replace(workflow_status_from_proto(end), stages=_stages(reader, workflow_id))
                        yield EndedWorkflow(sequence, _spec(reader, workflow_id), status)
            if not events:
                return
            after_sequence = events[-1].sequence

    def workflow_of(self, sequence: int) -> str | None:
        """The workflow that a sequence number belongs to; None where nothing has that number."""
        with self._reading() as reader:
            found: str | None = reader.scalar(
                select(transitions.c.workflow_id).where(transitions.c.sequence == sequence)
            )
        return found

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as reader:
                yield reader
        except DatabaseError as error:
            raise InvalidInputError(
                "scheduler.store", f"cannot be read: {error.orig}", value=str(self._path), remedy="name a store"
            ) from error


def _end(event: bytes) -> workflow_pb2.WorkflowStatus | None:
    """The status that an event ended its workflow with."""
    status = scheduler_pb2.WatchWorkflowResponse.FromString(event).workflow
    return status if status.HasField("ended_at") else None


def _spec(reader: Connection, workflow_id: str) -> WorkflowSpec:
    payload = reader.scalar(select(workflows.c.payload).where(workflows.c.id == workflow_id))
    return workflow_from_proto(workflow_pb2.Workflow.FromString(payload or b""))


def _stages(reader: Connection, workflow_id: str) -> tuple[StageStatus, ...]:
    """The last status of every stage that ever changed."""
    found: dict[str, workflow_pb2.StageStatus] = {}
    events = reader.execute(
        select(transitions.c.event).where(transitions.c.workflow_id == workflow_id).order_by(transitions.c.sequence)
    )
    for (event,) in events:
        message = scheduler_pb2.WatchWorkflowResponse.FromString(event)
        if message.HasField("stage"):
            found[message.stage.id] = message.stage
    return tuple(stage_status_from_proto(stage) for stage in found.values())
