"""The database tables. Times are seconds since the epoch. JSON is ASCII text, which every database accepts."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)


class Json(TypeDecorator[Any]):
    """JSON in a text column. ASCII escapes keep null characters and lone surrogates out of the database."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, ensure_ascii=True, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


METADATA = MetaData()

RUNS = Table(
    "runs",
    METADATA,
    Column("id", String(40), primary_key=True),  # ids sort in the order of acceptance
    Column("graph", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("content", Json, nullable=False),
    Column("inputs", Json, nullable=False),
    Column("owner", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("cache", String(10), nullable=False),
    Column("format", String(10), nullable=False),
    Column("state", String(10), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("deadline_at", Double),
    Column("progress", Double, nullable=False),
    Column("seconds", Double),
    Column("expected_seconds", Double),
    Column("cancel_requested", Boolean, nullable=False),
    Column("executor", Text),
    Column("lease_until", Double),
    Column("attempt", Integer, nullable=False),
    Column("strikes", Integer, nullable=False),  # claims since a node last finished
    Column("last_event", Integer, nullable=False),
    Column("warnings", Json, nullable=False),
    Column("error", Json),
    Column("webhook", Json),
    Column("webhook_due", Double),
    Column("webhook_failures", Integer, nullable=False),
    Column("idempotency_key", Text),
    Column("request_digest", Text, nullable=False),
    Column("preview_every", Integer),
    UniqueConstraint("owner", "idempotency_key", name="uq_runs_idempotency"),
    # A list is read state by state, newest first, so that one of these four serves every filter.
    Index("ix_runs_state", "state", "id"),
    Index("ix_runs_owner", "owner", "state", "id"),
    Index("ix_runs_graph", "graph", "state", "id"),
    Index("ix_runs_owner_graph", "owner", "graph", "state", "id"),
    Index("ix_runs_ended", "finished_at", "id"),
)
Index(
    "ix_runs_deadline",
    RUNS.c.deadline_at,
    sqlite_where=RUNS.c.state == "queued",
    postgresql_where=RUNS.c.state == "queued",
)
Index(
    "ix_runs_webhook",
    RUNS.c.webhook_due,
    sqlite_where=RUNS.c.webhook_due.is_not(None),
    postgresql_where=RUNS.c.webhook_due.is_not(None),
)

NODES = Table(
    "nodes",
    METADATA,
    Column("run", String(40), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("id", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("step", Integer),
    Column("steps", Integer),
    Column("seconds", Double),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("error", Json),
)

EVENTS = Table(
    "events",
    METADATA,
    Column("run", String(40), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("type", String(10), nullable=False),
    Column("time", Double, nullable=False),
    Column("body", Json, nullable=False),
    Column("number", BigInteger),  # counts the events of all runs; null in events of 0.1.0
    Index("ix_events_number", "number"),
)

LABELS = Table(
    "labels",
    METADATA,
    Column("run", String(40), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False),
    Index("ix_labels_name", "name", "run"),
    Index("ix_labels_value", "name", "value", "run"),
)

ASSETS = Table(
    "assets",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("content_type", Text, nullable=False),
    Column("file_name", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expired_at", Double),  # the file is removed; the record stays as long as its run
    Column("run", String(40), ForeignKey("runs.id", ondelete="CASCADE")),
    Column("output", Text),
    Column("position", Integer),
    Column("details", Json, nullable=False),
    Index("ix_assets_digest", "digest", "expired_at"),
    Index("ix_assets_run", "run", "position"),
    Index("ix_assets_age", "expired_at", "created_at"),
)
Index(
    "ix_assets_uploads",
    ASSETS.c.owner,
    ASSETS.c.id,
    sqlite_where=ASSETS.c.run.is_(None),
    postgresql_where=ASSETS.c.run.is_(None),
)

PREVIEWS = Table(
    "previews",
    METADATA,
    Column("run", String(40), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("node", Text, primary_key=True),
    Column("step", Integer, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Index("ix_previews_age", "created_at"),
    Index("ix_previews_digest", "digest"),
)

INPUT_ASSETS = Table(
    "input_assets",
    METADATA,
    Column("run", String(40), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("asset", String(40), primary_key=True),
    Index("ix_input_assets_asset", "asset"),
)

BLOBS = Table(
    "blobs",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("touched_at", Double, nullable=False),
)

EXECUTORS = Table(
    "executors",
    METADATA,
    Column("name", String(80), primary_key=True),
    Column("slots", Integer, nullable=False),
    Column("seen_at", Double, nullable=False),
)

DERIVED_FILES = Table(
    "derived_files",
    METADATA,
    Column("source", String(64), primary_key=True),  # digest of the file that it was made from
    Column("variant", String(40), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Index("ix_derived_files_digest", "digest"),
)

USAGE = Table(
    "usage",
    METADATA,
    Column("owner", String(100), primary_key=True),
    Column("day", Integer, primary_key=True),  # days since the epoch, UTC
    Column("runs", Integer, nullable=False),
    Column("music_seconds", Double, nullable=False),
    Column("compute_seconds", Double, nullable=False),
)

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("digest", String(64), primary_key=True),  # sha256 of the token that the browser holds
    Column("owner", Text, nullable=False),
    Column("key_digest", String(64), nullable=False),
    Column("expires_at", Double, nullable=False),
)

COUNTERS = Table(
    "counters",
    METADATA,
    Column("name", String(40), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

SECRETS = Table(
    "secrets",
    METADATA,
    Column("name", String(40), primary_key=True),
    Column("value", String(64), nullable=False),
)

TOTALS = Table(
    "totals",
    METADATA,
    Column("name", String(40), nullable=False),  # an end state of runs, or BYTES
    Column("owner", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Index("ix_totals", "name", "owner"),
)
"""Running totals: the sum of the rows of one name and owner. Triggers add rows, `totals.fold_totals` sums them up."""

BYTES = "bytes"
"""The total of the bytes of BLOBS."""

STORED = "stored"
"""The total of the bytes of an owner's ASSETS whose file is kept. Content that two assets share counts twice."""

AUDIT = Table(
    "audit",
    METADATA,
    Column("number", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    Column("time", Double, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", String(40), nullable=False),
    Column("object", Text, nullable=False),
    Column("details", Json, nullable=False),
    Index("ix_audit_who", "who", "number"),
    Index("ix_audit_action", "action", "number"),
)
"""Who did what, written by `audit.note` and by triggers on RUNS and ASSETS. Triggers keep rows from being changed."""

SWITCHES = Table(
    "switches",
    METADATA,
    Column("name", String(80), primary_key=True),  # QUEUE, or an executor
    Column("since", Double, nullable=False),
    Column("who", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
"""A row stops the claims of all executors (QUEUE), or of one."""

QUEUE = "queue"

TRACES = Table(
    "traces",
    METADATA,
    Column("run", String(40), ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("traceparent", String(55), nullable=False),
)
"""The trace context (W3C) of the request that submitted a run."""

SCHEMA_VERSION = Table(
    "schema_version",
    METADATA,
    Column("version_num", String(32), primary_key=True),
)
"""The latest migration. Earlier versions read `alembic_version` instead: see `versions`."""

EVENT_NUMBER = "events"
"""The counter of the events of all runs."""
