"""The data set of a job, made from its results in the form that was asked for, in the folder `dataset`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from acestep_flows.bulk.formats import parquet, training, webdataset
from acestep_flows.bulk.job import BulkJob, DatasetLayout, Shard
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.results import ResultRow, rows_of
from acestep_flows.errors import StorageError
from acestep_flows.values import canonical_json

FOLDER = "dataset"
VERSION = 1
"""Counts up when the same rows would be written in another way."""

Writer = Callable[[JobFolder, str, str, BulkJob, list[ResultRow]], list[str]]
WRITERS: dict[DatasetLayout, Writer] = {
    "parquet": parquet.write,
    "webdataset": webdataset.write,
    "ace-training": training.write,
}


@dataclass(frozen=True)
class Dataset:
    """What was written.

    Attributes:
        files: paths in the job's folder.
        rows: how many of them it holds.
        fresh: False: it was there already.
    """

    files: tuple[str, ...]
    rows: int
    fresh: bool = True


def write(place: JobFolder, job: BulkJob, results: pa.Table, shard: Shard | None = None) -> Dataset:
    """Write the data set of finished rows in the order of the manifest, or leave it where nothing has changed.

    In parquet, rows with the recipe of another row stand beside it with the same song; the other two forms, which are
    for training, hold every song once. Each part of a job that is split over machines writes files of its own.

    Args:
        place: the job's folder.
        job: says the form.
        results: rows that are done, with the columns of `results.SCHEMA`.
        shard: the part of the job that these are of.

    Raises:
        StorageError: a song cannot be read, or something cannot be written.
    """
    rows = list(rows_of(results.sort_by("index")))
    songs = {row.id: row for row in rows if row.status == "done"}
    kept = [_with_song(row, songs) for row in rows] if job.layout == "parquet" else list(songs.values())
    prefix = "train" if shard is None or shard.of == 1 else f"train-{shard.number:04}-of-{shard.of:04}"
    contents = f"{FOLDER}/.{prefix}.json"  # hidden: tools that open the folder take every file that is not

    digest = _digest(job, kept)
    before = _before(place, contents)
    there = set(place.names(FOLDER))
    if before.get("digest") == digest and there.issuperset(before["files"]):
        return Dataset(tuple(f"{FOLDER}/{name}" for name in before["files"]), len(kept), fresh=False)
    names = WRITERS[job.layout](place, FOLDER, prefix, job, kept)
    for stale in sorted(there & set(before.get("files", ())) - set(names)):
        place.delete(f"{FOLDER}/{stale}")
    place.write(contents, json.dumps({"digest": digest, "files": names}).encode())
    return Dataset(tuple(f"{FOLDER}/{name}" for name in names), len(kept))


def _with_song(row: ResultRow, songs: dict[str, ResultRow]) -> ResultRow:
    """A duplicate with the song of the row that it repeats."""
    song = songs.get(row.duplicate_of or "")
    if row.audio_path is not None or song is None:
        return row
    names = ("audio_path", "audio_bytes", "audio_digest", "duration", "sample_rate", "measurements")
    return dataclasses.replace(row, **{name: getattr(song, name) for name in names})


def _before(place: JobFolder, path: str) -> dict[str, Any]:
    try:
        content = json.loads(place.read(path) or b"{}")
    except (StorageError, ValueError):
        return {}
    return content if isinstance(content, dict) and {"digest", "files"} <= content.keys() else {}


def _digest(job: BulkJob, rows: list[ResultRow]) -> str:
    hasher = hashlib.sha256(canonical_json([VERSION, job.layout, job.embed, job.audio, job.digest]).encode())
    for row in rows:
        hasher.update(canonical_json([row.id, row.status, row.audio_path, row.audio_digest, row.inputs_json]).encode())
    return hasher.hexdigest()
