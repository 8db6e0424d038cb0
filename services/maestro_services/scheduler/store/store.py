"""The store: what was accepted and what became of it. One scheduler at a time owns it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, create_engine, event, func, select
from sqlalchemy.dialects.sqlite import insert

from maestro.errors import ConflictError
from maestro.status import WorkflowState
from maestro.v1 import scheduler_pb2, workflow_pb2
from maestro_services.scheduler.store.tables import facts, transitions, workflows
from maestro_services.scheduler.store.writer import Turns, Write, Writer

_EPOCH = "epoch"


@dataclass(frozen=True, slots=True)
class StoredWorkflow:
    """A workflow as the store has it: the submission, its last own status, and each changed stage's last status."""

    payload: bytes
    status: workflow_pb2.WorkflowStatus
    stages: dict[str, workflow_pb2.StageStatus]


class Store:
    """SQLite in WAL mode. Writes come from one thread; reads may come from any."""

    def __init__(
        self,
        path: Path,
        *,
        synchronous: str,
        failed: Callable[[BaseException], None],
        turns: Turns,
    ) -> None:
        """Opens (and where needed creates or migrates) the database.

        ``synchronous`` is ``full`` (durable through power loss) or ``normal`` (through a crash of the process).
        ``failed`` is called when a commit or a flush fails; nothing is durable from then on. ``turns``: the event loop.
        Raises ConflictError where another scheduler has the store open.
        """
        path = path.resolve()  # SQLite keeps its log beside the file itself, wherever a link to it lies
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _exclusive_lock(path)
        self._engine = create_engine(
            URL.create("sqlite", database=str(path)), connect_args={"check_same_thread": False}
        )
        event.listen(self._engine, "connect", _pragmas(synchronous))
        _migrate(self._engine.connect())
        self._log = os.open(path.with_name(path.name + "-wal"), os.O_RDWR)
        self._writer = Writer(self._engine, failed, turns, self._flush_log if synchronous == "full" else None)

    def close(self) -> None:
        """Makes durable what is written and lets go of the file."""
        self._writer.close()
        os.close(self._log)
        self._engine.dispose()
        self._lock.close()

    def write(self, write: Write) -> None:
        """Queues a write; its callbacks run once it is written and once it is durable."""
        self._writer.put(write)

    def begin_epoch(self) -> int:
        """A new epoch, larger than any before it on this store; durable when this returns."""
        with self._engine.begin() as connection:
            known = connection.scalar(select(facts.c.value).where(facts.c.name == _EPOCH))
            epoch = int(known) + 1 if known is not None else 1
            value = str(epoch).encode()
            statement = insert(facts).values(name=_EPOCH, value=value)
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))
        return epoch

    def _flush_log(self) -> None:
        """All that was committed so far survives a power failure: it stands in the write-ahead log."""
        os.fdatasync(self._log)

    def fact(self, name: str) -> bytes | None:
        """The named fact, if it was ever written."""
        with self._engine.connect() as reader:
            value = reader.scalar(select(facts.c.value).where(facts.c.name == name))
        return bytes(value) if value is not None else None

    def last_sequence(self) -> int:
        """The largest sequence number in use; 0 in an empty store."""
        with self._engine.connect() as reader:
            return reader.scalar(select(func.max(transitions.c.sequence))) or 0

    def active(self) -> list[StoredWorkflow]:
        """Every workflow that has not ended, oldest first."""
        with self._engine.connect() as reader:
            rows = reader.execute(
                select(workflows).where(workflows.c.state == WorkflowState.ACTIVE).order_by(workflows.c.number)
            ).all()
            return [_whole(reader, row) for row in rows]

    def workflow(self, workflow_id: str) -> StoredWorkflow | None:
        """One workflow, ended or not."""
        with self._engine.connect() as reader:
            row = reader.execute(select(workflows).where(workflows.c.id == workflow_id)).one_or_none()
            return _whole(reader, row) if row is not None else None

    def by_key(self, tenant: str, idempotency_key: str) -> tuple[str, str] | None:
        """The id and payload hash of the workflow that was accepted under an idempotency key."""
        with self._engine.connect() as reader:
            row = reader.execute(
                select(workflows.c.id, workflows.c.payload_hash).where(
                    workflows.c.tenant == tenant, workflows.c.idempotency_key == idempotency_key
                )
            ).one_or_none()
        return (row.id, row.payload_hash) if row is not None else None

    def events(self, workflow_id: str, after: int) -> list[scheduler_pb2.WatchWorkflowResponse]:
        """A workflow's events with a larger sequence number, in order."""
        with self._engine.connect() as reader:
            rows = reader.execute(
                select(transitions.c.event)
                .where(transitions.c.workflow_id == workflow_id, transitions.c.sequence > after)
                .order_by(transitions.c.sequence)
            ).all()
        return [scheduler_pb2.WatchWorkflowResponse.FromString(row.event) for row in rows]

    def page(
        self, *, size: int, before: int | None, tenant: str, state: WorkflowState | None
    ) -> list[tuple[int, workflow_pb2.WorkflowStatus]]:
        """At most ``size`` workflows, newest first, each with its number; ``before`` continues an earlier page."""
        query = select(workflows.c.number, workflows.c.status).order_by(workflows.c.number.desc()).limit(size)
        if before is not None:
            query = query.where(workflows.c.number < before)
        if tenant:
            query = query.where(workflows.c.tenant == tenant)
        if state is not None:
            query = query.where(workflows.c.state == state)
        with self._engine.connect() as reader:
            rows = reader.execute(query).all()
        return [(row.number, workflow_pb2.WorkflowStatus.FromString(row.status)) for row in rows]


def _whole(reader: Connection, row: Any) -> StoredWorkflow:
    stages: dict[str, workflow_pb2.StageStatus] = {}
    events = reader.execute(
        select(transitions.c.event).where(transitions.c.workflow_id == row.id).order_by(transitions.c.sequence)
    ).all()
    sequence = row.number
    for recorded in events:
        message = scheduler_pb2.WatchWorkflowResponse.FromString(recorded.event)
        sequence = message.sequence
        if message.HasField("stage"):
            stages[message.stage.id] = message.stage
    status = workflow_pb2.WorkflowStatus.FromString(row.status)
    status.sequence = sequence
    return StoredWorkflow(row.payload, status, stages)


def _exclusive_lock(path: Path) -> TextIOWrapper:
    """Holds ``path.lock`` for the life of the process, so that two schedulers never share a store."""
    lock = path.with_name(path.name + ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ConflictError(
            f"{path} is in use by another scheduler; stop it, or give this one a store of its own"
        ) from None
    return lock


def _pragmas(synchronous: str) -> Callable[[Any, Any], None]:
    """Settings of every connection: readers never wait for the writer."""

    def apply(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={'FULL' if synchronous == 'full' else 'NORMAL'}")
        cursor.execute("PRAGMA busy_timeout=10000")
        cursor.execute("PRAGMA wal_autocheckpoint=0")
        cursor.close()

    return apply


def _migrate(connection: Connection) -> None:
    """Brings the database to the newest version."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
