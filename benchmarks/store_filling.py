"""Fills a run table with runs that have ended, by a few large statements of the database itself."""

from __future__ import annotations

from sqlalchemy import Connection, text

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.totals import fold_totals

OWNERS = 20
GRAPHS = 5
YEAR = 365 * 86_400
QUEUED = 500
BEGUN = 1_790_000_000.0
"""When the first run was accepted, in seconds since the epoch. The last one comes a year later."""

_NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}) ",
    "postgresql": "WITH numbers(n) AS (SELECT generate_series(0, {last})) ",
}
_HEX = {
    "sqlite": "printf('%014x%012x', {at}, n)",
    "postgresql": "lpad(to_hex({at}), 14, '0') || lpad(to_hex(n), 12, '0')",
}

_RUNS = """
INSERT INTO runs (id, graph, digest, content, inputs, owner, priority, cache, format, state, created_at, started_at,
  finished_at, progress, seconds, cancel_requested, attempt, strikes, last_event, warnings, error, webhook_failures,
  request_digest)
{numbers} SELECT 'run-' || {hex}, 'graph-' || (n % {graphs}), 'd', '{{"graph": {{}}}}',
  '{{"tags": "lofi, piano", "lyrics": "la la la", "seed": 7}}', 'owner-' || (n % 7 * n % {owners}), 0, 'use', 'flac',
  CASE WHEN n > {ended} THEN 'queued' WHEN n % 50 = 0 THEN 'failed' WHEN n % 77 = 0 THEN 'cancelled'
  ELSE 'succeeded' END, {begun} + n * {gap}, CASE WHEN n <= {ended} THEN {begun} + n * {gap} + 1 END,
  CASE WHEN n <= {ended} THEN {begun} + n * {gap} + 20 END, 1.0, CASE WHEN n <= {ended} THEN 19.0 END, {false}, 1, 0, 2,
  '[]', CASE WHEN n <= {ended} AND n % 50 = 0 THEN '{{"code": "stage_failed", "message": "x"}}' END, 0, ''
  FROM numbers
"""
_NODES = """
INSERT INTO nodes (run, position, id, stage, state, seconds)
SELECT runs.id, at, 'node-' || at, 'stage-' || at, 'finished', 9.0 FROM runs
CROSS JOIN (SELECT 0 AS at UNION ALL SELECT 1) AS places WHERE finished_at IS NOT NULL
"""
_EVENTS = """
INSERT INTO events (run, seq, type, time, body, number)
SELECT runs.id, seq, CASE seq WHEN 1 THEN 'accepted' ELSE state END, created_at, '{"node": "", "time": 0}',
  row_number() OVER () FROM runs CROSS JOIN (SELECT 1 AS seq UNION ALL SELECT 2) AS seqs
"""
_ASSETS = f"""
INSERT INTO assets (id, kind, content_type, file_name, digest, bytes, owner, created_at, run, output, position, details)
SELECT 'asset-' || substr(runs.id, 5), 'audio', 'audio/flac', 'song.flac', '{"0" * 38}' || substr(runs.id, 5), 1000000,
  owner, finished_at, runs.id, 'audio', 0, '{{"seconds": 30.0}}' FROM runs WHERE state = 'succeeded'
"""
_BLOBS = "INSERT INTO blobs (digest, bytes, touched_at) SELECT digest, bytes, created_at FROM assets"
_LABELS = """
INSERT INTO labels (run, name, value)
SELECT id, 'title', 'song' FROM runs UNION ALL SELECT id, 'star', 'yes' FROM runs WHERE id LIKE '%000'
"""
_COUNTER = "UPDATE counters SET value = (SELECT max(number) FROM events) WHERE name = 'events'"


def fill(database: Database, runs: int) -> None:
    """Add runs with nodes, events, an output and labels each. All but the last ones have ended."""
    with database.write() as connection:
        dialect = connection.dialect.name
        values = {
            "numbers": _NUMBERS[dialect].format(last=runs - 1),
            "hex": _HEX[dialect].format(at=_microseconds(dialect, runs)),
            "graphs": GRAPHS,
            "owners": OWNERS,
            "ended": runs - QUEUED if runs > 2 * QUEUED else runs // 2,
            "begun": BEGUN,
            "gap": YEAR / runs,
            "false": "0" if dialect == "sqlite" else "false",
        }
        _execute(connection, _RUNS.format(**values))
        for statement in (_NODES, _EVENTS, _ASSETS, _BLOBS, _LABELS, _COUNTER):
            _execute(connection, statement)
    fold_totals(database)
    with database.write() as connection:
        connection.exec_driver_sql("ANALYZE")


def _microseconds(dialect: str, runs: int) -> str:
    kind = "integer" if dialect == "sqlite" else "bigint"
    return f"CAST(({BEGUN} + n * {YEAR / runs}) * 1000000 AS {kind})"


def _execute(connection: Connection, statement: str) -> None:
    connection.execute(text(statement.replace(":", "\\:")))
