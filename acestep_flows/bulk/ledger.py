"""The tables of a job: results, attempts, dead letters. A resumed job reads from them what is left to do.

Rows are added as they end and committed a few at a time, each commit as one new file that appears whole. Small files
are gathered into large ones now and then. If that is interrupted, a row is in two files and counts once.
"""

from __future__ import annotations

import io
import logging
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from acestep_flows.bulk.job import Shard
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.results import LATER_COLUMNS, SCHEMA, ResultRow, Status, rows_of, table

log = logging.getLogger(__name__)

RESULTS, ATTEMPTS, DEAD = "results", "attempts", "dead-letters"

COMMIT_ROWS = 64
COMMIT_SECONDS = 2.0
"""Longest time between commits: the most work lost when the driver is killed."""

GATHER_FILES = 64
LARGE_ROWS = 10_000
"""A file with as many rows is not gathered again."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A row that is not settled: attempts so far, the number of the next retake, and how many attempts failed."""

    attempt: int = 0
    retake: int = 0
    errors: int = 0


@dataclass
class Standing:
    """The state of a job, from its tables.

    Attributes:
        settled: how rows ended that are done or given up, by id.
        tried: attempts at other rows, by id.
        recipes: id of the row that has the song, by the start of the recipe's digest.
    """

    settled: dict[str, Status] = field(default_factory=dict)
    tried: dict[str, Tried] = field(default_factory=dict)
    recipes: dict[bytes, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Totals:
    """What all calls of a job have done so far.

    Attributes:
        settled: rows that were rendered and are done, or were given up.
        attempts: songs rendered, with retries and retakes.
        retaken: attempts that a quality gate asked for.
        audio_seconds: of the songs that are done.
    """

    settled: int = 0
    attempts: int = 0
    retaken: int = 0
    audio_seconds: float = 0.0


class Ledger:
    """The tables of one job, written by one process (or by one of each shard).

    Args:
        job_folder: where the tables are.
        shard: part of the file names, so that shards can write at the same time.
    """

    def __init__(self, job_folder: JobFolder, shard: str = "1-of-1") -> None:
        self._job_folder, self._shard = job_folder, shard
        self._pending: dict[str, list[ResultRow]] = {RESULTS: [], ATTEMPTS: [], DEAD: []}
        self._since: float | None = None
        self._small: dict[str, int] = {}

    def standing(self, *, again: bool = False) -> Standing:
        """The state that earlier calls committed.

        Args:
            again: count rows that were given up as not settled, with no retakes and errors so far.

        Raises:
            StorageError: the tables cannot be read.
        """
        standing = Standing()
        for part in self._tables(RESULTS, ["id", "status", "recipe_digest"]):
            ids, statuses, digests = (part.column(name).to_pylist() for name in part.schema.names)
            standing.settled.update(zip(ids, statuses, strict=True))
            for id, status, digest in zip(ids, statuses, digests, strict=True):
                if status == "done" and digest:
                    standing.recipes.setdefault(short(digest), id)
        given_up: dict[str, Status] = {}
        for part in self._tables(DEAD, ["id", "status"]):
            given_up.update(zip(part.column("id").to_pylist(), part.column("status").to_pylist(), strict=True))
        if not again:
            standing.settled = given_up | standing.settled
        self._count_attempts(standing, given_up)
        return standing

    def totals(self, part: Shard) -> Totals:
        """What was done so far for a part of the job.

        Raises:
            StorageError: the tables cannot be read.
        """
        done = {row["id"]: row for row in self._cells(RESULTS, part) if row["status"] == "done"}
        tried = {(row["id"], row["attempt"]): row for row in self._cells(ATTEMPTS, part)}
        given_up = {row["id"] for row in self._cells(DEAD, part)} - done.keys()
        return Totals(
            settled=len(done) + len(given_up),
            attempts=len(done) + len(tried),
            retaken=sum(row["retake"] > 0 for row in (*done.values(), *tried.values())),
            audio_seconds=sum(row["duration"] or 0.0 for row in done.values()),
        )

    def _cells(self, name: str, part: Shard) -> Iterator[dict[str, Any]]:
        for content in self._tables(name, ["id", "index", "status", "attempt", "retake", "duration"]):
            yield from (row for row in content.to_pylist() if part.holds(row["index"]))

    def _count_attempts(self, standing: Standing, given_up: dict[str, Status]) -> None:
        for part in self._tables(ATTEMPTS, ["id", "attempt", "retake", "status"]):
            for cells in part.to_pylist():
                id = cells["id"]
                if id in standing.settled:
                    continue
                before = standing.tried.get(id, Tried())
                errors = before.errors + (cells["status"] == "failed")
                retake = cells["retake"] + (cells["status"] == "rejected")
                standing.tried[id] = Tried(max(before.attempt, cells["attempt"]), max(before.retake, retake), errors)
        for id in given_up.keys() & standing.tried.keys():
            standing.tried[id] = Tried(standing.tried[id].attempt)  # made again on request; attempts keep counting

    def add(self, row: ResultRow, *, settled: bool) -> None:
        """Add the result of an attempt; `commit` writes it to disk."""
        if row.status in ("done", "duplicate"):
            self._pending[RESULTS].append(row)
        else:
            self._pending[ATTEMPTS].append(row)
            if settled:
                self._pending[DEAD].append(row)
        if self._since is None:
            self._since = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to commit."""
        if self._since is None:
            return False
        return time.monotonic() - self._since >= COMMIT_SECONDS or len(self._pending[RESULTS]) >= COMMIT_ROWS

    def commit(self) -> None:
        """Write what was added.

        Raises:
            StorageError: it cannot be written; the rows stay pending.
        """
        for name in (ATTEMPTS, DEAD, RESULTS):
            if rows := self._pending[name]:
                self._write(name, table(rows))
                self._pending[name] = []
                self._small[name] = self._small.get(name, 0) + 1
                if self._small[name] >= GATHER_FILES:
                    self.gather(name)
        self._since = None

    def gather(self, name: str, *, all: bool = False) -> None:
        """Make one file of this shard's small files, with each row once, and without dead letters of rows done since.

        Args:
            all: also where there is only one small file.
        """
        small = []
        for file in self._names(name):
            if file.startswith(f"part-{self._shard}-"):
                content = self._read(f"{name}/{file}")
                if content is not None and content.num_rows < LARGE_ROWS:
                    small.append((file, content))
        self._small[name] = 0
        if len(small) < 2 and not all:
            return
        if not small:
            return
        whole = pa.concat_tables([content for _, content in small])
        gathered = _once(whole, name, self.done_ids() if name == DEAD else frozenset())
        if gathered.num_rows:
            self._write(name, gathered)
        for file, _ in small:
            self._job_folder.delete(f"{name}/{file}")

    def close(self) -> None:
        """Commit, and gather the small files."""
        self.commit()
        for name in (RESULTS, ATTEMPTS, DEAD):
            self.gather(name, all=name == DEAD)

    def rows(self, name: str = RESULTS) -> Iterator[ResultRow]:
        """The rows of a table, each once, file by file."""
        seen: set[tuple[str, int]] = set()
        for part in self._tables(name, None):
            for row in rows_of(part):
                key = row.id, row.attempt if name == ATTEMPTS else 0
                if key not in seen:
                    seen.add(key)
                    yield row

    def done_ids(self) -> frozenset[str]:
        """The rows that are done, or have the song of another row. Raises StorageError."""
        return frozenset(id for part in self._tables(RESULTS, ["id"]) for id in part.column("id").to_pylist())

    def _write(self, name: str, content: pa.Table) -> None:
        stream = io.BytesIO()
        pq.write_table(content, stream, compression="zstd")
        # Names sort by time, so that of two rows with one id the older one is found first.
        file = f"part-{self._shard}-{time.time_ns():020d}-{secrets.token_hex(3)}.parquet"
        self._job_folder.write(f"{name}/{file}", stream.getvalue())

    def _names(self, name: str) -> list[str]:
        return [file for file in self._job_folder.names(name) if file.endswith(".parquet")]

    def _tables(self, name: str, columns: list[str] | None) -> Iterator[pa.Table]:
        for file in self._names(name):
            if (content := self._read(f"{name}/{file}", columns)) is not None:
                yield content

    def _read(self, path: str, columns: list[str] | None = None) -> pa.Table | None:
        content = self._job_folder.read(path)
        if content is None:
            return None  # gathered by another process meanwhile
        try:
            return _columns(pq.ParquetFile(io.BytesIO(content)), columns or SCHEMA.names)
        except pa.ArrowException as error:
            log.warning("%s: damaged, its rows are made again: %s", path, error)
            return None


def _columns(file: pq.ParquetFile, names: list[str]) -> pa.Table:
    """The columns of a table; those that only later tables have are null in earlier ones."""
    absent = [name for name in LATER_COLUMNS if name in names and name not in file.schema_arrow.names]
    content = file.read(columns=[name for name in names if name not in absent])
    for name in absent:
        content = content.append_column(SCHEMA.field(name), pa.nulls(len(content), SCHEMA.field(name).type))
    return content.select(names)


def short(digest: str) -> bytes:
    """The first bytes of a digest (hex): enough to tell millions apart."""
    return bytes.fromhex(digest[:32])


def _once(content: pa.Table, name: str, done: frozenset[str]) -> pa.Table:
    """Each row once: the first result, the first attempt of a number, the last dead letter if not done."""
    ids = content.column("id").to_pylist()
    keys = list(zip(ids, content.column("attempt").to_pylist(), strict=True)) if name == ATTEMPTS else ids
    at = {key: i for i, key in enumerate(keys)} if name == DEAD else {}
    if name != DEAD:
        for i, key in enumerate(keys):
            at.setdefault(key, i)
    return content.take(pa.array(sorted(i for i in at.values() if ids[i] not in done), pa.int64()))
