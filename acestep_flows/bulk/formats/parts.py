"""Divide rows over the files of a data set, and read their audio."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.results import ResultRow
from acestep_flows.errors import StorageError

SHARD_BYTES = 256_000_000
"""Most audio in one file of a data set, unless one song is larger. Each file is made in memory."""


def parts(rows: Iterable[ResultRow], most_bytes: float, most_rows: int) -> list[list[ResultRow]]:
    """The rows of each file, in their order."""
    files: list[list[ResultRow]] = []
    size = 0.0
    for row in rows:
        more = row.audio_bytes or 0
        if not files or len(files[-1]) >= most_rows or size + more > most_bytes:
            files.append([])
            size = 0.0
        files[-1].append(row)
        size += more
    return files


def read_audio(job_folder: JobFolder, row: ResultRow) -> bytes:
    """The audio file of a row.

    Raises:
        StorageError: it cannot be read, or is gone.
    """
    content = job_folder.read(row.audio_path or "")
    if content is None:
        raise StorageError(f"{job_folder.url}: {row.audio_path}, the song of row {row.id}, is missing")
    return content


def numbered(prefix: str, count: int) -> Sequence[str]:
    """Names of `count` files as data set tools expect them: `train-00000-of-00003`."""
    return [f"{prefix}-{index:05}-of-{count:05}" for index in range(count)]
