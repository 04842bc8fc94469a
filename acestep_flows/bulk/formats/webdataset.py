"""Tar files as WebDataset reads them: for every song its audio and a JSON file of the same name.

The same songs make the same bytes: entries carry no times and no owners.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from acestep_flows.bulk.formats.parts import SHARD_BYTES, parts, read_audio
from acestep_flows.bulk.identity import stem
from acestep_flows.bulk.job import BulkJob
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.results import ResultRow
from acestep_flows.bulk.song_warnings import song_warnings

SHARD_SONGS = 10_000


def write(
    job_folder: JobFolder,
    folder: str,
    prefix: str,
    job: BulkJob,
    rows: Sequence[ResultRow],
    *,
    bytes_each: int = SHARD_BYTES,
) -> list[str]:
    """Write `rows` to tar files in `folder`; returns the file names."""
    names = []
    for number, songs in enumerate(parts(rows, bytes_each, SHARD_SONGS)):
        stream = BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for row in songs:
                name = stem(row.id)  # without dots: WebDataset splits names at the first dot
                _add(archive, f"{name}.{job.audio}", read_audio(job_folder, row))
                _add(archive, f"{name}.json", json.dumps(_facts(row), ensure_ascii=False, indent=1).encode())
        names.append(f"{prefix}-{number:06}.tar")
        job_folder.write(f"{folder}/{names[-1]}", stream.getvalue())
    return names


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    archive.addfile(entry, BytesIO(content))


def _facts(row: ResultRow) -> dict[str, Any]:
    """The columns of the parquet data set, without audio, errors and times."""
    return {
        "id": row.id,
        "inputs": row.inputs,
        "seed": row.seed,
        "duration": row.duration,
        "duration_asked": row.duration_asked,
        "sample_rate": row.sample_rate,
        "measurements": dict(row.measurements or {}),
        "warnings": song_warnings(row),
        "graph": row.graph,
        "graph_digest": row.graph_digest,
        "weights_digest": row.weights_digest,
        "recipe_digest": row.recipe_digest,
        "audio_digest": row.audio_digest,
        "versions": dict(row.versions),
        "attempt": row.attempt,
        "retake": row.retake,
    }
