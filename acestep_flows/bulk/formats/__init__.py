"""The data set of a job, written to the folder `dataset` as parquet, WebDataset or a training folder.

Writers read results and audio files, nothing else: they must not know graphs, weights or Ray. Begin with `write` here;
each form has a module of its own, and a new form is one more writer in `WRITERS`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from acestep_flows.bulk.formats import parquet, training, webdataset
from acestep_flows.bulk.formats.divisions import FOLDER, WAITING, Contents, remove, show
from acestep_flows.bulk.job import BulkJob, DatasetLayout, Shard
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.results import ResultRow, rows_of
from acestep_flows.values import canonical_json

__all__ = ["FOLDER", "Dataset", "write"]

VERSION = 1
"""Raise it when the same rows are to be written in another way."""

Writer = Callable[[JobFolder, str, str, BulkJob, list[ResultRow]], list[str]]
WRITERS: dict[DatasetLayout, Writer] = {
    "parquet": parquet.write,
    "webdataset": webdataset.write,
    "ace-training": training.write,
}
NAMED_BY_SONG: tuple[DatasetLayout, ...] = ("ace-training",)
"""Layouts in which a song has the same files in every division, so that it cannot be there twice."""


@dataclass(frozen=True)
class Dataset:
    """The files of a data set.

    Attributes:
        files: paths in the job's folder.
        rows: how many rows it has.
        fresh: written by this call; False: it was there and nothing has changed.
        shown: it stands in the folder `dataset`; False: it waits, because another division of the job has its data set
            there, until all parts of this one are written.
    """

    files: tuple[str, ...]
    rows: int
    fresh: bool = True
    shown: bool = True


def write(job_folder: JobFolder, job: BulkJob, results: pa.Table, shard: Shard | None = None) -> Dataset:
    """Write the data set of finished rows in the order of the manifest, unless it is there and unchanged.

    In parquet, rows with the recipe of another row have the same song as that row; the other two forms, which are for
    training, hold every song once. Each part of a job that is split over machines writes files of its own. The folder
    has the files of one division of the job at a time, as `divisions` says.

    Args:
        job_folder: where they are written.
        job: decides the form.
        results: rows that are done, with the columns of `results.SCHEMA`.
        shard: the part of the job that these are of.

    Raises:
        StorageError: a song cannot be read, or something cannot be written.
    """
    rows = list(rows_of(results.sort_by("index")))
    songs = {row.id: row for row in rows if row.status == "done"}
    rows_of_set = [_with_song(row, songs) for row in rows] if job.layout == "parquet" else list(songs.values())
    part = shard if shard is not None else Shard()
    prefix = "train" if part.of == 1 else f"train-{part.number:04}-of-{part.of:04}"
    contents = Contents(job_folder, f".{prefix}.json")
    can_wait = job.layout not in NAMED_BY_SONG

    digest = _digest(job, rows_of_set)
    before = contents.read()
    there = {*job_folder.names(FOLDER), *job_folder.names(WAITING)}
    fresh = before.digest != digest or not there.issuperset(before.files)
    names = list(before.files)
    if fresh:
        names = WRITERS[job.layout](job_folder, WAITING if can_wait else FOLDER, prefix, job, rows_of_set)
        remove(job_folder, set(before.files) - set(names))
        contents.write(digest, names)
    shown = show(job_folder, part.of, can_wait=can_wait)
    folder = FOLDER if shown else WAITING
    return Dataset(tuple(f"{folder}/{name}" for name in names), len(rows_of_set), fresh, shown)


def _with_song(row: ResultRow, songs: dict[str, ResultRow]) -> ResultRow:
    """A duplicate with the song of the row that it repeats."""
    song = songs.get(row.duplicate_of or "")
    if row.audio_path is not None or song is None:
        return row
    names = ("audio_path", "audio_bytes", "audio_digest", "duration", "sample_rate", "measurements", "warnings")
    return dataclasses.replace(row, **{name: getattr(song, name) for name in names})


def _digest(job: BulkJob, rows: list[ResultRow]) -> str:
    hasher = hashlib.sha256(canonical_json([VERSION, job.layout, job.embed, job.audio, job.digest]).encode())
    for row in rows:
        hasher.update(canonical_json([row.id, row.status, row.audio_path, row.audio_digest, row.inputs_json]).encode())
    return hasher.hexdigest()
