"""The end of a job: write the data set, the list of songs that sound alike, the report, and the tracking."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
        reasons: how many rows were given up for each reason, the most frequent first.
        rejected: how many rows were given up because no song of theirs met the conditions of the job.
        warned, truncated: songs of all calls that were turned down, and that are shorter than asked because models make
            whole frames.
    """

    dataset: Dataset
    report: str
    alike: tuple[Duplicate, ...]
    reasons: Mapping[str, int]
    rejected: int = 0
    warned: int = 0
    truncated: int = 0


def finish(
    job_folder: JobFolder, job: BulkJob, shard: Shard | None = None, tracking: JobTracking | None = None
) -> Finished:
    """Write data set, duplicates and report from a job's tables, for the whole job or one part of it.

    Raises:
        StorageError: something cannot be read or written.
    """
    part = shard if shard is not None else Shard()
    ledger = Ledger(job_folder, f"{part.number}-of-{part.of}")
    done, attempts, dead = (
        [row for row in ledger.rows(name) if part.holds(row.index)] for name in (RESULTS, ATTEMPTS, DEAD)
    )
    results = table(done)
    alike = _alike(job_folder, done, _part_name(ALIKE, part))
    # A part of several has one without rows, too: what other divisions wrote goes once all parts are there.
    dataset = formats.write(job_folder, job, results, part) if done or part.of > 1 else Dataset((), 0)
    rows = len(range(part.number - 1, job.rows, part.of))
    settled = {row.id for row in done}
    left = {row.index: row for row in dead if row.id not in settled}  # 0.1.0 named some rows by another id
    given_up = table(left.values())
    findings = Findings(job, rows, results, table(attempts), given_up, alike, part)
    page = report.render(findings, _loader(job_folder)).encode("utf-8", "backslashreplace")
    path = _part_name(report.FILE, part)
    job_folder.write(path, page)
    if tracking is not None:
        _track(tracking, job_folder, job, findings, dataset, page)
    return Finished(
        dataset,
        path,
        alike,
        _reasons(left.values()),
        rejected=sum(row.status == "rejected" for row in left.values()),
        warned=sum(row.warnings is not None for row in done if row.status == "done"),
        truncated=findings.truncated,
    )


def _reasons(dead: Iterable[ResultRow]) -> Mapping[str, int]:
    """How many rows have each reason. A gate counts once, whatever the songs measured."""
    counts: Counter[str] = Counter()
    for row in dead:
        error = row.error or row.code or "no reason known"
        if row.status == "rejected":
            counts.update({f"{gate.partition(' (measured ')[0]} not met" for gate in error.split("; ")})
        else:
            counts[error] += 1
    return dict(counts.most_common())


def _alike(job_folder: JobFolder, done: Sequence[ResultRow], path: str) -> tuple[Duplicate, ...]:
    """Songs that sound like earlier ones, also written as lines of JSON."""
    songs = sorted((row for row in done if row.status == "done"), key=lambda row: row.index)
    alike = tuple(fingerprint.duplicates((row.id, row.fingerprint or "") for row in songs))
    if alike:
        entries = ({"id": song.id, "of": song.of, "similarity": round(song.similarity, 4)} for song in alike)
        job_folder.write(path, "".join(f"{json.dumps(entry)}\n" for entry in entries).encode())
    else:
        job_folder.delete(path)
    return alike


def _part_name(path: str, shard: Shard) -> str:
    """A file name with the part of the job in it, where the job has several."""
    if shard.of == 1:
        return path
    stem, _, suffix = path.rpartition(".")
    return f"{stem}-{shard.number}-of-{shard.of}.{suffix}"


def _loader(job_folder: JobFolder) -> Load:
    def load(path: str) -> bytes:
        content = job_folder.read(path)
        if content is None:
            raise StorageError(f"{job_folder.where}: {path} is missing")
        return content

    return load


def _track(
    tracking: JobTracking, job_folder: JobFolder, job: BulkJob, findings: Findings, dataset: Dataset, page: bytes
) -> None:
    tracking.artifact(report.FILE, page)
    stream = io.BytesIO()
    pq.write_table(findings.results, stream, compression="zstd")
    if stream.tell() <= LARGEST_TRACKED:
        tracking.artifact("results.parquet", stream.getvalue())
    songs = findings.songs
    for at in players.chosen(songs.num_rows, job.digest)[:SAMPLES]:
        _track_song(tracking, job_folder, songs, at)
    tracking.lineage(
        Lineage(job_folder.url.rstrip("/").rpartition("/")[2], job_folder.url, _digest(dataset, findings), "output")
    )


def _track_song(tracking: JobTracking, job_folder: JobFolder, songs: pa.Table, at: int) -> None:
    path = songs["audio_path"][at].as_py()
    if path is None or (songs["audio_bytes"][at].as_py() or 0) > LARGEST_TRACKED:
        return
    content = job_folder.read(path)
    if content is not None:
        tracking.artifact(f"samples/{path.rpartition('/')[2]}", content)


def _digest(dataset: Dataset, findings: Findings) -> str:
    from acestep_flows.graph.content import sha256

    return sha256([list(dataset.files), sorted(findings.songs["audio_digest"].to_pylist())])
