"""What became of rows: the record of one attempt, its table, and what a job tells while it works.

Three tables have this schema. `results` holds the rows that are done, one each; `attempts` every attempt there was;
`dead-letters` the rows that were given up, with inputs and cause.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import pyarrow as pa

Status: TypeAlias = Literal["done", "failed", "rejected", "duplicate"]
"""`done`: audio in place. `failed`: an error. `rejected`: a gate was not met. `duplicate`: same recipe as another row."""

MEASUREMENTS: Mapping[str, pa.DataType] = {
    "seconds": pa.float64(),
    "sample_rate": pa.int64(),
    "channels": pa.int64(),
    "loudness_lufs": pa.float64(),
    "true_peak_dbtp": pa.float64(),
    "sample_peak_dbfs": pa.float64(),
    "rms_dbfs": pa.float64(),
    "clipping_runs": pa.int64(),
    "clipped_samples": pa.int64(),
    "silence_share": pa.float64(),
    "dc_offset": pa.float64(),
    "stereo_correlation": pa.float64(),
    "spectral_centroid_hz": pa.float64(),
    "cutoff_hz": pa.float64(),
    "tempo_bpm": pa.float64(),
    "tempo_confidence": pa.float64(),
    "key": pa.string(),
    "key_fit": pa.float64(),
}
"""Names and types of `audio.measure.Measurement`."""

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("index", pa.int64(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("code", pa.string()),
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
        pa.field("sample_rate", pa.int32()),
        pa.field("measurements", pa.struct(list(MEASUREMENTS.items()))),
        pa.field("stage_seconds", pa.map_(pa.string(), pa.float64()), nullable=False),
        pa.field("finished", pa.timestamp("us", tz="UTC")),
    ]
)
"""Explicit: a column of which the first rows know nothing would get no type, and break the set."""


@dataclass(frozen=True)
class ResultRow:
    """One attempt at one row.

    Attributes:
        id: of the row; unique in the job.
        index, line: its place among the job's rows, and the manifest's line (0: from a sweep alone).
        error, code: the cause where the status is failed or rejected, and its stable name.
        attempt: counts all attempts at the row from 1.
        retake: how many of them were for other seeds.
        inputs_json: the inputs as resolved, seeds included; JSON.
        seed: the graph's seed, where it has exactly one.
        recipe_digest: sha256 over graph, weights, precision and resolved inputs: rows of one recipe sound the same.
        duplicate_of: id of the row that has the same recipe.
        audio_path: relative to the job's folder, with slashes.
        audio_bytes: size of the file.
        audio_digest: of the samples, as in every recipe.
        fingerprint: of what it sounds like.
        duration, sample_rate: in seconds and Hz.
        measurements: as `MEASUREMENTS`.
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
    sample_rate: int | None = None
    measurements: Mapping[str, Any] | None = None
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    finished: float | None = None

    @property
    def inputs(self) -> dict[str, Any]:
        """The inputs as resolved."""
        given: dict[str, Any] = json.loads(self.inputs_json)
        return given


def table(rows: Iterable[ResultRow]) -> pa.Table:
    """Rows as a table of `SCHEMA`."""
    return pa.Table.from_pylist([_cells(row) for row in rows], schema=SCHEMA)


def rows_of(content: pa.Table | pa.RecordBatch) -> Iterator[ResultRow]:
    """The rows of a table of `SCHEMA`; columns that are not there hold what `ResultRow` says."""
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
class Outcome:
    """What became of a job so far.

    Attributes:
        rows: rows of the job, or of this shard of it.
        before: rows that were settled when it began.
        done, failed, rejected, duplicates: rows by what became of them, those before included.
        attempts: attempts made now.
        seconds: since it began; `started` of them went by before the first row was under way.
        audio_seconds: seconds of audio made now.
        interrupted: it was stopped; the same command goes on.
    """

    rows: int
    before: int
    done: int
    failed: int = 0
    rejected: int = 0
    duplicates: int = 0
    attempts: int = 0
    seconds: float = 0.0
    started: float = 0.0
    audio_seconds: float = 0.0
    interrupted: bool = False

    @property
    def left(self) -> int:
        """Rows not settled yet."""
        return self.rows - self.done - self.failed - self.rejected - self.duplicates


class Watch:
    """Who hears of a job while it works; called from the driver's thread. This one listens to nothing."""

    def begun(self, rows: int, before: int) -> None:
        """Work begins: rows in all, and rows already settled."""

    def ended(self, row: ResultRow, *, settled: bool) -> None:
        """An attempt ended; `settled`: nothing more will be done about its row."""

    def busy(self, shares: Mapping[str, float]) -> None:
        """The share of the last seconds that processes worked, 0..1, by name of the leg."""

    def over(self, outcome: Outcome) -> None:
        """All rows are settled, or the job was stopped."""


UNWATCHED = Watch()
