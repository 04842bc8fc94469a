"""The data set of a job, written to the folder `dataset` as parquet, WebDataset or a training folder.

Writers read results and audio files, nothing else: they must not know graphs, weights or Ray. Begin with `write` here;
each form has a module of its own, and a new form is one more writer in `WRITERS`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
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
"""Raise it when the same rows are to be written in another way."""

_CONTENTS = re.compile(r"\.train(?:-\d+-of-(\d+))?\.json")

Writer = Callable[[JobFolder, str, str, BulkJob, list[ResultRow]], list[str]]
WRITERS: dict[DatasetLayout, Writer] = {
    "parquet": parquet.write,
    "webdataset": webdataset.write,
    "ace-training": training.write,
}


@dataclass(frozen=True)
class Dataset:
    """The files of a data set.

    Attributes:
        files: paths in the job's folder.
        rows: how many rows it has.
        fresh: written by this call; False: it was there and nothing has changed.
    """

    files: tuple[str, ...]
    rows: int
    fresh: bool = True


def write(job_folder: JobFolder, job: BulkJob, results: pa.Table, shard: Shard | None = None) -> Dataset:
    """Write the data set of finished rows in the order of the manifest, unless it is there and unchanged.

    In parquet, rows with the recipe of another row have the same song as that row; the other two forms, which are for
    training, hold every song once. Each part of a job that is split over machines writes files of its own.

    Args:
        place: the job's folder.
        job: decides the form.
        results: rows that are done, with the columns of `results.SCHEMA`.
        shard: the part of the job that these are of.

    Raises:
        StorageError: a song cannot be read, or something cannot be written.
    """
    rows = list(rows_of(results.sort_by("index")))
    songs = {row.id: row for row in rows if row.status == "done"}
    rows_of_set = [_with_song(row, songs) for row in rows] if job.layout == "parquet" else list(songs.values())
    prefix = "train" if shard is None or shard.of == 1 else f"train-{shard.number:04}-of-{shard.of:04}"
    contents = f"{FOLDER}/.{prefix}.json"  # hidden, because tools read every visible file of the folder

    digest = _digest(job, rows_of_set)
    before = _before(job_folder, contents)
    there = set(job_folder.names(FOLDER))
    if before.get("digest") == digest and there.issuperset(before["files"]):
        _remove_other_divisions(job_folder, shard.of if shard is not None else 1)
        return Dataset(tuple(f"{FOLDER}/{name}" for name in before["files"]), len(rows_of_set), fresh=False)
    names = WRITERS[job.layout](job_folder, FOLDER, prefix, job, rows_of_set)
    for stale in sorted(there & set(before.get("files", ())) - set(names)):
        job_folder.delete(f"{FOLDER}/{stale}")
    job_folder.write(contents, json.dumps({"digest": digest, "files": names}).encode())
    _remove_other_divisions(job_folder, shard.of if shard is not None else 1)
    return Dataset(tuple(f"{FOLDER}/{name}" for name in names), len(rows_of_set))


def _remove_other_divisions(job_folder: JobFolder, of: int) -> None:
    """Remove what was written when the job was divided into another number of parts: its rows would be there twice.

    It stays until all parts of the present division are there.
    """
    if job_folder.local is None:
        return
    divisions: dict[int, list[Path]] = {}
    for path in (job_folder.local / FOLDER).glob(".train*.json"):
        if match := _CONTENTS.fullmatch(path.name):
            divisions.setdefault(int(match[1] or 1), []).append(path)
    if len(divisions.get(of, ())) < of:
        return
    listed = {number: _listed(job_folder, paths) for number, paths in divisions.items()}
    for number in divisions.keys() - {of}:
        for name in sorted(listed[number] - listed[of]):
            job_folder.delete(f"{FOLDER}/{name}")
        for path in divisions[number]:
            job_folder.delete(f"{FOLDER}/{path.name}")


def _listed(job_folder: JobFolder, contents: Iterable[Path]) -> set[str]:
    return {name for path in contents for name in _before(job_folder, f"{FOLDER}/{path.name}").get("files", ())}


def _with_song(row: ResultRow, songs: dict[str, ResultRow]) -> ResultRow:
    """A duplicate with the song of the row that it repeats."""
    song = songs.get(row.duplicate_of or "")
    if row.audio_path is not None or song is None:
        return row
    names = ("audio_path", "audio_bytes", "audio_digest", "duration", "sample_rate", "measurements", "warnings")
    return dataclasses.replace(row, **{name: getattr(song, name) for name in names})


def _before(job_folder: JobFolder, path: str) -> dict[str, Any]:
    try:
        content = json.loads(job_folder.read(path) or b"{}")
    except (StorageError, ValueError):
        return {}
    return content if isinstance(content, dict) and {"digest", "files"} <= content.keys() else {}


def _digest(job: BulkJob, rows: list[ResultRow]) -> str:
    hasher = hashlib.sha256(canonical_json([VERSION, job.layout, job.embed, job.audio, job.digest]).encode())
    for row in rows:
        hasher.update(canonical_json([row.id, row.status, row.audio_path, row.audio_digest, row.inputs_json]).encode())
    return hasher.hexdigest()
