"""Create the first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "blobs",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("touched_at", sa.Double(), nullable=False),
    )
    op.create_table(
        "executors",
        sa.Column("name", sa.String(80), primary_key=True),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("graph", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("cache", sa.String(10), nullable=False),
        sa.Column("format", sa.String(10), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double()),
        sa.Column("finished_at", sa.Double()),
        sa.Column("deadline_at", sa.Double()),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double()),
        sa.Column("expected_seconds", sa.Double()),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("executor", sa.Text()),
        sa.Column("lease_until", sa.Double()),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("strikes", sa.Integer(), nullable=False),
        sa.Column("last_event", sa.Integer(), nullable=False),
        sa.Column("warnings", sa.Text(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("webhook", sa.Text()),
        sa.Column("webhook_due", sa.Double()),
        sa.Column("webhook_failures", sa.Integer(), nullable=False),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("request_digest", sa.Text(), nullable=False),
        sa.UniqueConstraint("owner", "idempotency_key", name="uq_runs_idempotency"),
    )
    op.create_index("ix_runs_graph", "runs", ["graph", "state", "finished_at"])
    op.create_index("ix_runs_queue", "runs", ["state", "priority", "id"])
    op.create_index("ix_runs_webhook", "runs", ["webhook_due"])
    op.create_table(
        "assets",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expired_at", sa.Double()),
        sa.Column("run", sa.String(40), sa.ForeignKey("runs.id", ondelete="CASCADE")),
        sa.Column("output", sa.Text()),
        sa.Column("position", sa.Integer()),
        sa.Column("details", sa.Text(), nullable=False),
    )
    op.create_index("ix_assets_age", "assets", ["expired_at", "created_at"])
    op.create_index("ix_assets_digest", "assets", ["digest"])
    op.create_index("ix_assets_run", "assets", ["run", "position"])
    op.create_table(
        "events",
        sa.Column("run", sa.String(40), sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("seq", sa.Integer(), primary_key=True),
        sa.Column("type", sa.String(10), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
    )
    op.create_table(
        "input_assets",
        sa.Column("run", sa.String(40), sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("asset", sa.String(40), primary_key=True),
    )
    op.create_index("ix_input_assets_asset", "input_assets", ["asset"])
    op.create_table(
        "nodes",
        sa.Column("run", sa.String(40), sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("step", sa.Integer()),
        sa.Column("steps", sa.Integer()),
        sa.Column("seconds", sa.Double()),
        sa.Column("started_at", sa.Double()),
        sa.Column("finished_at", sa.Double()),
        sa.Column("error", sa.Text()),
    )
