"""A data set of parquet files that `datasets.load_dataset` and pyarrow open.

One row per song, typed by the graph's inputs, with the song as Hugging Face's Audio (a struct of bytes and path) and
the features of every column in the schema's `huggingface` entry. Bytes are included on request; without them the path
is absolute, because the library needs it so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from acestep_flows.bulk.formats.parts import SHARD_BYTES, numbered, parts, read_audio
from acestep_flows.bulk.job import BulkJob
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.measurements import measurements_struct
from acestep_flows.bulk.results import ResultRow
from acestep_flows.bulk.song_warnings import song_warnings
from acestep_flows.graph.language.types import parse_type
from acestep_flows.stages.ports import PortType
from acestep_flows.values import canonical_json

AUDIO = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
SHARD_ROWS = 50_000
GROUP_ROWS = 100
"""Rows of one row group where audio is included: reading one song reads its group."""

_PLAIN = {"text": pa.string(), "int": pa.int64(), "seed": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}


@dataclass(frozen=True)
class Columns:
    """The schema of a job's data set.

    Attributes:
        schema: with Hugging Face's features.
        texts: inputs that are lists, records or spans; they are stored as JSON text.
    """

    schema: pa.Schema
    texts: frozenset[str]


def columns(job: BulkJob, stages: Sequence[str], sample_rate: int | None) -> Columns:
    """The columns for the songs of a job.

    Args:
        job: whose graph says which inputs there are.
        stages: whose seconds have a column.
        sample_rate: of all songs; None where they differ.
    """
    declared: Mapping[str, Any] = job.content.get("graph", {}).get("inputs") or {}
    kinds = {name: _kind(content) for name, content in declared.items()}
    inputs = pa.struct([pa.field(name, _arrow(kind)) for name, kind in kinds.items()])
    seconds = pa.struct([pa.field(name, pa.float64()) for name in stages])
    fields = [
        field for field in _fields(inputs, seconds) if not pa.types.is_struct(field.type) or field.type.num_fields
    ]
    features = {field.name: _feature(field.type) for field in fields}
    features["audio"] = {"sampling_rate": sample_rate, "_type": "Audio"} if sample_rate else {"_type": "Audio"}
    schema = pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})
    return Columns(schema, frozenset(name for name, kind in kinds.items() if not _single(kind)))


def _fields(inputs: pa.DataType, stage_seconds: pa.DataType) -> list[pa.Field]:
    return [
        pa.field("id", pa.string(), nullable=False),
        pa.field("index", pa.int64(), nullable=False),
        pa.field("audio", AUDIO),
        pa.field("audio_path", pa.string()),
        pa.field("inputs", inputs),
        pa.field("seed", pa.int64()),
        pa.field("duration", pa.float64()),
        pa.field("duration_asked", pa.float64()),
        pa.field("sample_rate", pa.int32()),
        pa.field("measurements", measurements_struct()),
        pa.field("warnings", pa.list_(pa.string())),
        pa.field("graph", pa.string(), nullable=False),
        pa.field("graph_digest", pa.string(), nullable=False),
        pa.field("weights_digest", pa.string(), nullable=False),
        pa.field("recipe_digest", pa.string(), nullable=False),
        pa.field("audio_digest", pa.string()),
        pa.field("versions", pa.string(), nullable=False),
        pa.field("stage_seconds", stage_seconds),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("attempt", pa.int32(), nullable=False),
        pa.field("retake", pa.int32(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("duplicate_of", pa.string()),
        pa.field("error", pa.string()),
        pa.field("finished", pa.timestamp("us", tz="UTC")),
    ]


def write(
    job_folder: JobFolder,
    folder: str,
    prefix: str,
    job: BulkJob,
    rows: Sequence[ResultRow],
    *,
    bytes_each: int = SHARD_BYTES,
) -> list[str]:
    """Write `rows` to parquet files in `folder`; returns the file names."""
    stages = sorted({*job.stages, *(name for row in rows for name in row.stage_seconds)})
    rates = {row.sample_rate for row in rows}
    layout = columns(job, stages, rates.pop() if len(rates) == 1 else None)
    # A data set without rows has one file, too: it has the columns.
    shards = parts(rows, bytes_each if job.embed else float("inf"), SHARD_ROWS) or [[]]
    names = [f"{name}.parquet" for name in numbered(prefix, len(shards))]
    for name, shard in zip(names, shards, strict=True):
        stream = BytesIO()
        with pq.ParquetWriter(stream, layout.schema, compression="zstd") as writer:
            for group in _groups(shard, GROUP_ROWS if job.embed else SHARD_ROWS):
                writer.write_table(
                    pa.Table.from_pylist([_cells(job_folder, job, layout, row) for row in group], layout.schema)
                )
        job_folder.write(f"{folder}/{name}", stream.getvalue())
    return names


def _groups(rows: Sequence[ResultRow], size: int) -> Iterator[Sequence[ResultRow]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _cells(job_folder: JobFolder, job: BulkJob, layout: Columns, row: ResultRow) -> dict[str, Any]:
    cells = {name: getattr(row, name) for name in layout.schema.names if hasattr(row, name)}
    inputs = {
        name: canonical_json(value) if name in layout.texts and value is not None else value
        for name, value in row.inputs.items()
    }
    content = read_audio(job_folder, row) if job.embed and row.audio_path else None
    path = row.audio_path.rpartition("/")[2] if job.embed and row.audio_path else None
    if row.audio_path and not job.embed:
        path = f"{job_folder.url.rstrip('/')}/{row.audio_path}"
    return cells | {
        "audio": {"bytes": content, "path": path} if row.audio_path else None,
        "inputs": inputs,
        "measurements": dict(row.measurements) if row.measurements is not None else None,
        "warnings": song_warnings(row),
        "versions": canonical_json(dict(row.versions)),
        "stage_seconds": dict(row.stage_seconds),
        "finished": round(row.finished * 1_000_000) if row.finished is not None else None,
    }


def _kind(declared: Any) -> PortType | None:
    kind = parse_type(declared.get("type", "")) if isinstance(declared, Mapping) else ""
    return kind if isinstance(kind, PortType) else None


def _single(kind: PortType | None) -> bool:
    """Whether the input is one text, number or file; spans, lists and records are stored as JSON."""
    return kind is not None and (kind.kind in _PLAIN or (bool(kind.value_kinds) and kind.kind != "span"))


def _arrow(kind: PortType | None) -> pa.DataType:
    return _PLAIN.get(kind.kind, pa.string()) if kind is not None else pa.string()


def _feature(kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "Sequence"}  # every version of `datasets` reads it
    names = {pa.float64(): "float64", pa.bool_(): "bool"}
    return {"dtype": names.get(kind, str(kind)), "_type": "Value"}
