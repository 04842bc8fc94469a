"""The end of a job: the data set in the form asked for, songs that sound alike, the report, what is tracked."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from acestep_flows.bulk import fingerprint, formats, report
from acestep_flows.bulk.fingerprint import Duplicate
from acestep_flows.bulk.formats import Dataset
from acestep_flows.bulk.job import BulkJob, Shard
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.ledger import ATTEMPTS, DEAD, RESULTS, Ledger
from acestep_flows.bulk.report import Findings, players
from acestep_flows.bulk.results import ResultRow, table
from acestep_flows.bulk.tracking import JobTracking, Lineage
from acestep_flows.errors import StorageError

if TYPE_CHECKING:
    from acestep_flows.bulk.report.players import Load

ALIKE = "duplicates.jsonl"
SAMPLES = 3
LARGEST_TRACKED = 50_000_000
"""Bytes of a result table or song that is still copied to the tracking store."""


@dataclass(frozen=True)
class Finished:
    """What the end of a job wrote.

    Attributes:
        dataset: the files of the data set.
        report: path of the report in the job's folder.
        alike: songs that sound like earlier ones.
    """

    dataset: Dataset
    report: str
    alike: tuple[Duplicate, ...]


def finish(place: JobFolder, job: BulkJob, shard: Shard | None = None, tracking: JobTracking | None = None) -> Finished:
    """Write what a job's tables come to, for the whole job or for one part of it.

    Raises:
        StorageError: something cannot be read or written.
    """
    part = shard if shard is not None else Shard()
    ledger = Ledger(place, f"{part.number}-of-{part.of}")
    done, tried, dead = (
        [row for row in ledger.rows(name) if part.holds(row.index)] for name in (RESULTS, ATTEMPTS, DEAD)
    )
    results = table(done)
    alike = _alike(place, done, _named(ALIKE, part))
    dataset = formats.write(place, job, results, part)
    rows = len(range(part.number - 1, job.rows, part.of))
    settled = {row.id for row in done}
    given_up = table(row for row in dead if row.id not in settled)
    findings = Findings(job, rows, results, table(tried), given_up, alike, part)
    page = report.render(findings, _loader(place)).encode("utf-8", "backslashreplace")
    path = _named(report.FILE, part)
    place.write(path, page)
    if tracking is not None:
        _track(tracking, place, job, findings, dataset, page)
    return Finished(dataset, path, alike)


def _alike(place: JobFolder, done: Sequence[ResultRow], path: str) -> tuple[Duplicate, ...]:
    """Songs that sound like earlier ones, also written as lines of JSON."""
    songs = sorted((row for row in done if row.status == "done"), key=lambda row: row.index)
    found = tuple(fingerprint.duplicates((row.id, row.fingerprint or "") for row in songs))
    if found:
        lines = [json.dumps({"id": one.id, "of": one.of, "similarity": round(one.similarity, 4)}) for one in found]
        place.write(path, "".join(f"{line}\n" for line in lines).encode())
    else:
        place.delete(path)
    return found


def _named(path: str, shard: Shard) -> str:
    """Files of one part of a job have names of their own."""
    if shard.of == 1:
        return path
    stem, _, suffix = path.rpartition(".")
    return f"{stem}-{shard.number}-of-{shard.of}.{suffix}"


def _loader(place: JobFolder) -> Load:
    def load(path: str) -> bytes:
        content = place.read(path)
        if content is None:
            raise StorageError(f"{place.where}: {path} has gone")
        return content

    return load


def _track(
    tracking: JobTracking, place: JobFolder, job: BulkJob, findings: Findings, dataset: Dataset, page: bytes
) -> None:
    tracking.artifact(report.FILE, page)
    stream = io.BytesIO()
    pq.write_table(findings.results, stream, compression="zstd")
    if stream.tell() <= LARGEST_TRACKED:
        tracking.artifact("results.parquet", stream.getvalue())
    songs = findings.songs
    for at in players.chosen(songs.num_rows, job.digest)[:SAMPLES]:
        _track_song(tracking, place, songs, at)
    tracking.lineage(Lineage(place.url.rstrip("/").rpartition("/")[2], place.url, _digest(dataset, findings), "output"))


def _track_song(tracking: JobTracking, place: JobFolder, songs: pa.Table, at: int) -> None:
    path = songs["audio_path"][at].as_py()
    if path is None or (songs["audio_bytes"][at].as_py() or 0) > LARGEST_TRACKED:
        return
    content = place.read(path)
    if content is not None:
        tracking.artifact(f"samples/{path.rpartition('/')[2]}", content)


def _digest(dataset: Dataset, findings: Findings) -> str:
    from acestep_flows.graph.content import sha256

    return sha256([list(dataset.files), sorted(findings.songs["audio_digest"].to_pylist())])
