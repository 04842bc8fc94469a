"""How rows are shared out over the files of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.results import ResultRow
from acestep_flows.errors import StorageError

SHARD_BYTES = 256_000_000
"""Audio that one file of a data set holds at most, unless one song is larger. It is put together in memory."""


def parts(rows: Iterable[ResultRow], most_bytes: float, most_rows: int) -> list[list[ResultRow]]:
    """Rows in their order, cut where a file is full."""
    found: list[list[ResultRow]] = []
    size = 0.0
    for row in rows:
        more = row.audio_bytes or 0
        if not found or len(found[-1]) >= most_rows or size + more > most_bytes:
            found.append([])
            size = 0.0
        found[-1].append(row)
        size += more
    return found


def sound(place: JobFolder, row: ResultRow) -> bytes:
    """The audio file of a row.

    Raises:
        StorageError: it cannot be read, or is gone.
    """
    content = place.read(row.audio_path or "")
    if content is None:
        raise StorageError(f"{place.url}: {row.audio_path}, the song of row {row.id}, is gone")
    return content


def numbered(prefix: str, count: int) -> Sequence[str]:
    """Names of `count` files as data set tools expect them: `train-00000-of-00003`."""
    return [f"{prefix}-{place:05}-of-{count:05}" for place in range(count)]
