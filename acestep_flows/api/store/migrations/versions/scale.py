"""Add running totals and the indexes that large tables need. Triggers keep the totals, also for writers of 0.1.0.

Every step may be repeated: an older copy of the tables may have been put back over newer ones.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ENDED = "('succeeded', 'failed', 'cancelled')"
TRIGGERS = {
    "runs": ("total_run_added", "total_run_removed", "total_run_changed"),
    "blobs": ("total_blob_added", "total_blob_removed"),
}

DROPPED = ("ix_runs_queue", "ix_runs_graph", "ix_runs_webhook", "ix_assets_digest", "ix_labels_value")


def upgrade() -> None:
    op.create_table(
        "totals",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        if_not_exists=True,
    )
    for name in DROPPED:
        op.execute(f"DROP INDEX IF EXISTS {name}")
    for name, table, columns, where in INDEXES:
        condition = f" WHERE {where}" if where else ""
        op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {table} ({columns}){condition}")
    _create_triggers(op.get_context().dialect.name)
    op.execute("DELETE FROM totals")
    op.execute(
        f"INSERT INTO totals (name, owner, amount) SELECT state, owner, count(*) FROM runs WHERE state IN {ENDED} "
        "GROUP BY state, owner"
    )
    op.execute("INSERT INTO totals (name, owner, amount) SELECT 'bytes', '', coalesce(sum(bytes), 0) FROM blobs")


INDEXES = (
    ("ix_totals", "totals", "name, owner", ""),
    ("ix_runs_state", "runs", "state, id", ""),
    ("ix_runs_owner", "runs", "owner, state, id", ""),
    ("ix_runs_graph", "runs", "graph, state, id", ""),
    ("ix_runs_owner_graph", "runs", "owner, graph, state, id", ""),
    ("ix_runs_ended", "runs", "finished_at, id", ""),
    ("ix_runs_deadline", "runs", "deadline_at", "state = 'queued'"),
    ("ix_runs_webhook", "runs", "webhook_due", "webhook_due IS NOT NULL"),
    ("ix_labels_name", "labels", "name, run", ""),
    ("ix_labels_value", "labels", "name, value, run", ""),
    ("ix_assets_digest", "assets", "digest, expired_at", ""),
    ("ix_assets_uploads", "assets", "owner, id", "run IS NULL"),
    ("ix_previews_digest", "previews", "digest", ""),
    ("ix_derived_files_digest", "derived_files", "digest", ""),
)
"""Name, table, columns and condition."""


def _create_triggers(dialect: str) -> None:
    for table, names in TRIGGERS.items():
        for name in names:
            op.execute(f"DROP TRIGGER IF EXISTS {name}" + ("" if dialect == "sqlite" else f" ON {table}"))
    for statement in SQLITE if dialect == "sqlite" else POSTGRESQL:
        op.execute(statement)


def _added(name: str, owner: str, amount: str, where: str) -> str:
    return f"INSERT INTO totals (name, owner, amount) SELECT {name}, {owner}, {amount} WHERE {where};"


_RUN_ADDED = _added("NEW.state", "NEW.owner", "1", f"NEW.state IN {ENDED}")
_RUN_REMOVED = _added("OLD.state", "OLD.owner", "-1", f"OLD.state IN {ENDED}")
_BLOB_ADDED = _added("'bytes'", "''", "NEW.bytes", "NEW.bytes <> 0")
_BLOB_REMOVED = _added("'bytes'", "''", "-OLD.bytes", "OLD.bytes <> 0")

_MOMENTS = (
    ("total_run_added", "INSERT ON runs", _RUN_ADDED),
    ("total_run_removed", "DELETE ON runs", _RUN_REMOVED),
    ("total_run_changed", "UPDATE OF state, owner ON runs", _RUN_REMOVED + _RUN_ADDED),
    ("total_blob_added", "INSERT ON blobs", _BLOB_ADDED),
    ("total_blob_removed", "DELETE ON blobs", _BLOB_REMOVED),
)

SQLITE = [f"CREATE TRIGGER {name} AFTER {moment} BEGIN {does} END" for name, moment, does in _MOMENTS]
POSTGRESQL = [
    statement
    for name, moment, does in _MOMENTS
    for statement in (
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does} RETURN NULL; END $$",
        f"CREATE TRIGGER {name} AFTER {moment} FOR EACH ROW EXECUTE FUNCTION {name}()",
    )
]
