"""Add the audit log, the switches of the queue and of servers, trace contexts, and totals of each owner's files.

Triggers write what happens to runs and uploads into the audit log, also what servers of 0.1.0 do, and refuse to change
the log. Every step may be repeated: an older copy of the tables may have been put back over newer ones.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KEPT = "the audit log is append-only"


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("number", ROW_NUMBER, primary_key=True, autoincrement=True),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "switches",
        sa.Column("name", sa.String(80), primary_key=True),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "traces",
        sa.Column("run", sa.String(40), sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("traceparent", sa.String(55), nullable=False),
        if_not_exists=True,
    )
    op.execute("CREATE INDEX IF NOT EXISTS ix_audit_who ON audit (who, number)")
    op.execute("CREATE INDEX IF NOT EXISTS ix_audit_action ON audit (action, number)")
    _create_triggers(op.get_context().dialect.name)
    op.execute("DELETE FROM totals WHERE name = 'stored'")
    op.execute(
        "INSERT INTO totals (name, owner, amount) SELECT 'stored', owner, sum(bytes) FROM assets "
        "WHERE expired_at IS NULL GROUP BY owner"
    )


def _create_triggers(dialect: str) -> None:
    for name, moment, when, does in (*CHANGES, *REFUSALS):
        table = moment.rpartition(" ")[2]
        op.execute(f"DROP TRIGGER IF EXISTS {name}" + ("" if dialect == "sqlite" else f" ON {table}"))
        if dialect == "sqlite":
            condition = f"WHEN {when} " if when else ""
            op.execute(f"CREATE TRIGGER {name} {moment} FOR EACH ROW {condition}BEGIN {_sqlite(does)} END")
        else:
            condition = f"IF {when} THEN {does} END IF;" if when else does
            op.execute(
                f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql "
                f"AS $$ BEGIN {_postgresql(condition)} RETURN NULL; END $$"
            )
            op.execute(f"CREATE TRIGGER {name} {moment} FOR EACH ROW EXECUTE FUNCTION {name}()")


def _sqlite(does: str) -> str:
    return (
        does.replace("<now>", "(julianday('now') - 2440587.5) * 86400.0")
        .replace("<json>", "json_object")
        .replace("<refuse>", f"SELECT RAISE(ABORT, '{KEPT}');")
    )


def _postgresql(does: str) -> str:
    return (
        does.replace("<now>", "extract(epoch from clock_timestamp())")
        .replace("<json>", "json_build_object")
        .replace("<refuse>", f"RAISE EXCEPTION '{KEPT}';")
    )


def _noted(who: str, action: str, of: str, details: str = "'{}'", time: str = "<now>") -> str:
    values = f"{time}, {who}, '{action}', {of}, {details}"
    return f"INSERT INTO audit (time, who, action, object, details) VALUES ({values});"


def _stored(row: str, sign: str) -> str:
    amount = f"SELECT 'stored', {row}.owner, {sign}{row}.bytes WHERE {row}.expired_at IS NULL AND {row}.bytes <> 0;"
    return f"INSERT INTO totals (name, owner, amount) {amount}"


CHANGES = (
    (
        "audit_run_added",
        "AFTER INSERT ON runs",
        "",
        _noted("NEW.owner", "run.submitted", "NEW.id", "<json>('graph', NEW.graph)", "NEW.created_at"),
    ),
    (
        "audit_run_cancelled",
        "AFTER UPDATE OF cancel_requested, state ON runs",
        "NEW.cancel_requested AND NOT OLD.cancel_requested "
        "OR NEW.state = 'cancelled' AND OLD.state <> 'cancelled' AND NOT OLD.cancel_requested",
        _noted("NEW.owner", "run.cancelled", "NEW.id"),
    ),
    (
        "audit_upload_added",
        "AFTER INSERT ON assets",
        "NEW.run IS NULL",
        _noted("NEW.owner", "file.uploaded", "NEW.id", "<json>('bytes', NEW.bytes)", "NEW.created_at"),
    ),
    ("total_asset_added", "AFTER INSERT ON assets", "", _stored("NEW", "")),
    ("total_asset_removed", "AFTER DELETE ON assets", "", _stored("OLD", "-")),
    (
        "total_asset_changed",
        "AFTER UPDATE OF owner, expired_at ON assets",
        "",
        _stored("OLD", "-") + " " + _stored("NEW", ""),
    ),
)
"""Name, moment, condition and statement of each trigger."""

REFUSALS = (
    ("audit_not_changed", "BEFORE UPDATE ON audit", "", "<refuse>"),
    ("audit_not_removed", "BEFORE DELETE ON audit", "", "<refuse>"),
)
