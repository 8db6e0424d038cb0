"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Facts, workflows, transitions."""
    op.create_table(
        "facts",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.BLOB, nullable=False),
    )
    op.create_table(
        "workflows",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("idempotency_key", sa.String),
        sa.Column("payload_hash", sa.String, nullable=False),
        sa.Column("payload", sa.BLOB, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("accepted_at_s", sa.Float, nullable=False),
        sa.Column("status", sa.BLOB, nullable=False),
    )
    op.create_index(
        "workflows_idempotency",
        "workflows",
        ["tenant", "idempotency_key"],
        unique=True,
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_index("workflows_state", "workflows", ["state", "number"])
    op.create_table(
        "transitions",
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("workflow_id", sa.String, nullable=False),
        sa.Column("event", sa.BLOB, nullable=False),
    )
    op.create_index("transitions_workflow", "transitions", ["workflow_id", "sequence"])
