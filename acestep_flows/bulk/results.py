"""The result of one attempt at a row, and the schema of its tables.

Three tables have this schema. `results` holds the rows that are done, one each; `attempts` holds the attempts that gave
no song; `dead-letters` holds the rows that were given up, with inputs and cause.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from acestep_flows.bulk.measurements import measurements_struct
from acestep_flows.bulk.progress import JobProgress

Status: TypeAlias = Literal["done", "failed", "rejected", "duplicate"]
"""`done`: the audio is written. `failed`: an error. `rejected`: a gate was not met. `duplicate`: of another row."""

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("index", pa.int64(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("code", pa.string()),
        pa.field("warnings", pa.string()),
        pa.field("attempt", pa.int32(), nullable=False),
        pa.field("retake", pa.int32(), nullable=False),
        pa.field("inputs_json", pa.string(), nullable=False),
        pa.field("seed", pa.int64()),
        pa.field("graph", pa.string(), nullable=False),
        pa.field("graph_digest", pa.string(), nullable=False),
        pa.field("weights_digest", pa.string(), nullable=False),
        pa.field("versions", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("recipe_digest", pa.string(), nullable=False),
        pa.field("duplicate_of", pa.string()),
        pa.field("audio_path", pa.string()),
        pa.field("audio_bytes", pa.int64()),
        pa.field("audio_digest", pa.string()),
        pa.field("fingerprint", pa.string()),
        pa.field("duration", pa.float64()),
        pa.field("duration_asked", pa.float64()),
        pa.field("sample_rate", pa.int32()),
        pa.field("measurements", measurements_struct()),
        pa.field("stage_seconds", pa.map_(pa.string(), pa.float64()), nullable=False),
        pa.field("finished", pa.timestamp("us", tz="UTC")),
    ]
)
"""Explicit: a column without values in the first rows would otherwise get no type."""

LATER_COLUMNS = ("duration_asked", "warnings")
"""Columns that tables of 0.1.0 do not have; their cells are null."""


@dataclass(frozen=True)
class ResultRow:
    """One attempt at one row.

    Attributes:
        id: of the row; unique in the job.
        index, line: its position among the job's rows, and the manifest's line (0: from a sweep alone).
        error, code: the cause where the status is failed or rejected, and its stable name.
        warnings: what was changed so that the file plays within full scale, where anything was.
        attempt: counts all attempts at the row from 1.
        retake: how many of them were for other seeds.
        inputs_json: the inputs as resolved, seeds included; JSON.
        seed: the graph's seed, where it has exactly one.
        recipe_digest: sha256 over graph, weights, precision and resolved inputs: rows of one recipe sound the same.
        duplicate_of: id of the row that has the same recipe.
        audio_path: relative to the job's folder, with slashes.
        audio_bytes: size of the file.
        audio_digest: of the samples, as in every recipe.
        fingerprint: audio fingerprint, as `fingerprint` makes it.
        duration, sample_rate: in seconds and Hz.
        duration_asked: the seconds that the song was to last, where the inputs say so.
        measurements: as `measurements.FIELDS`.
        stage_seconds: seconds that each stage worked.
        finished: seconds since the epoch.
    """

    id: str
    index: int
    line: int
    status: Status
    attempt: int = 1
    retake: int = 0
    error: str | None = None
    code: str | None = None
    warnings: str | None = None
    inputs_json: str = "{}"
    seed: int | None = None
    graph: str = ""
    graph_digest: str = ""
    weights_digest: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    recipe_digest: str = ""
    duplicate_of: str | None = None
    audio_path: str | None = None
    audio_bytes: int | None = None
    audio_digest: str | None = None
    fingerprint: str | None = None
    duration: float | None = None
    duration_asked: float | None = None
    sample_rate: int | None = None
    measurements: Mapping[str, Any] | None = None
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    finished: float | None = None

    @property
    def inputs(self) -> dict[str, Any]:
        """The inputs as resolved."""
        inputs: dict[str, Any] = json.loads(self.inputs_json)
        return inputs


def table(rows: Iterable[ResultRow]) -> pa.Table:
    """Rows as a table of `SCHEMA`."""
    return pa.Table.from_pylist([_cells(row) for row in rows], schema=SCHEMA)


def rows_of(content: pa.Table | pa.RecordBatch) -> Iterator[ResultRow]:
    """The rows of a table of `SCHEMA`; missing columns have the defaults of `ResultRow`."""
    names = {part.name for part in dataclasses.fields(ResultRow)} & set(content.schema.names)
    for cells in content.select(list(names)).to_pylist():
        for name in ("versions", "stage_seconds"):
            if name in cells:
                cells[name] = dict(cells[name] or ())
        if cells.get("finished") is not None:
            cells["finished"] = cells["finished"].timestamp()
        yield ResultRow(**cells)


def _cells(row: ResultRow) -> dict[str, Any]:
    cells = {part.name: getattr(row, part.name) for part in dataclasses.fields(row)}
    cells["versions"] = list(row.versions.items())
    cells["stage_seconds"] = list(row.stage_seconds.items())
    if row.finished is not None:
        cells["finished"] = round(row.finished * 1_000_000)
    return cells


@dataclass(frozen=True)
class JobOutcome:
    """Counts at the end of a call of `run_job`.

    Attributes:
        progress: at its end; rows rejected by a gate count as failed, duplicates as done.
        rejected, duplicates: of this call's rows.
        warned: songs of this call whose row has warnings.
        truncated: songs of this call that are shorter than asked because models make whole frames.
        interrupted: ctrl-C stopped it; the same command goes on.
    """

    progress: JobProgress
    rejected: int = 0
    duplicates: int = 0
    warned: int = 0
    truncated: int = 0
    interrupted: bool = False
