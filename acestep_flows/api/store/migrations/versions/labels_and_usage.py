"""Add labels, usage, browser sessions, derived files, and numbers that count the events of all runs.

Runs that are there get the label `parent` where an input is an output of a run, and count as usage of their owner.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

DAY = 86_400
LARGEST_INSERT = 500


def upgrade() -> None:
    usage, counters = _create_tables()
    op.bulk_insert(counters, [{"name": "events", "value": 0}])
    op.execute(
        "INSERT INTO labels (run, name, value) SELECT input_assets.run, 'parent', MIN(assets.run) FROM input_assets "
        "JOIN assets ON assets.id = input_assets.asset WHERE assets.run IS NOT NULL GROUP BY input_assets.run"
    )
    rows = _usage_so_far(op.get_bind())
    for start in range(0, len(rows), LARGEST_INSERT):
        op.bulk_insert(usage, rows[start : start + LARGEST_INSERT])


def _create_tables() -> tuple[sa.Table, sa.Table]:
    """Create all tables. Returns those of usage and of counters."""
    op.add_column("events", sa.Column("number", sa.BigInteger()))
    op.create_index("ix_events_number", "events", ["number"])
    op.create_table(
        "labels",
        sa.Column("run", sa.String(40), sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
    )
    op.create_index("ix_labels_value", "labels", ["name", "value"])
    op.create_table(
        "derived_files",
        sa.Column("source", sa.String(64), primary_key=True),
        sa.Column("variant", sa.String(40), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
    )
    usage = op.create_table(
        "usage",
        sa.Column("owner", sa.String(100), primary_key=True),
        sa.Column("day", sa.Integer(), primary_key=True),
        sa.Column("runs", sa.Integer(), nullable=False),
        sa.Column("music_seconds", sa.Double(), nullable=False),
        sa.Column("compute_seconds", sa.Double(), nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("key_digest", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
    )
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("value", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("value", sa.String(64), nullable=False),
    )
    return usage, counters


def _usage_so_far(connection: sa.Connection) -> list[dict[str, Any]]:
    """The usage of the runs that are there, as `store.usage` counts it."""
    ended = "SELECT id, owner, finished_at FROM runs WHERE finished_at IS NOT NULL"
    days = {row.id: (row.owner, int(row.finished_at // DAY)) for row in connection.execute(sa.text(ended))}
    totals: dict[tuple[str, int], dict[str, float]] = defaultdict(lambda: {"runs": 0, "music": 0.0, "compute": 0.0})
    for day in days.values():
        totals[day]["runs"] += 1
    for row in connection.execute(sa.text("SELECT run, details FROM assets WHERE run IS NOT NULL AND kind = 'audio'")):
        if row.run in days:
            totals[days[row.run]]["music"] += json.loads(row.details).get("seconds") or 0.0
    computed = "SELECT run, SUM(seconds) AS seconds FROM nodes WHERE state = 'finished' GROUP BY run"
    for row in connection.execute(sa.text(computed)):
        if row.run in days:
            totals[days[row.run]]["compute"] += row.seconds or 0.0
    return [
        {
            "owner": owner,
            "day": day,
            "runs": int(total["runs"]),
            "music_seconds": total["music"],
            "compute_seconds": total["compute"],
        }
        for (owner, day), total in totals.items()
    ]
