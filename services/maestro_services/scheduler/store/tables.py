"""The tables. ``migrations/`` brings a database of an earlier version here."""

from __future__ import annotations

from sqlalchemy import BLOB, Column, Float, Index, Integer, MetaData, String, Table, text

metadata = MetaData()

facts = Table(
    "facts",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", BLOB, nullable=False),
)

workflows = Table(
    "workflows",
    metadata,
    Column("number", Integer, primary_key=True),  # the sequence of its acceptance: newest first is largest first
    Column("id", String, nullable=False, unique=True),
    Column("tenant", String, nullable=False),
    Column("idempotency_key", String),
    Column("payload_hash", String, nullable=False),
    Column("payload", BLOB, nullable=False),
    Column("state", String, nullable=False),
    Column("accepted_at_s", Float, nullable=False),
    Column("status", BLOB, nullable=False),  # WorkflowStatus without stages, as of its last own transition
)
Index(
    "workflows_idempotency",
    workflows.c.tenant,
    workflows.c.idempotency_key,
    unique=True,
    sqlite_where=text("idempotency_key IS NOT NULL"),
)
Index("workflows_state", workflows.c.state, workflows.c.number)

transitions = Table(
    "transitions",
    metadata,
    Column("sequence", Integer, primary_key=True),
    Column("workflow_id", String, nullable=False),
    Column("event", BLOB, nullable=False),  # WatchWorkflowResponse
)
Index("transitions_workflow", transitions.c.workflow_id, transitions.c.sequence)
