"""Songs that are done, noted by the process that made them just before it writes their files.

The driver hears of a song some time after its file is written, and commits a few at a time. If it is stopped in
between, it finds the song in the journal, and the song is not made again. A note without its whole file does not count.
Lines are appended to one hidden file for each process beside the table of results, in a local folder only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from acestep_flows.bulk.job import Shard
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.ledger import RESULTS
from acestep_flows.bulk.results import ResultRow

_NAME = re.compile(r"\.done-(\d+)-of-(\d+)-\w+\.jsonl")
_FIELDS = frozenset(field.name for field in dataclasses.fields(ResultRow))


class SongJournal:
    """The journal of a part of a job.

    Args:
        job_folder: where the job is.
        part: the rows that are noted.
    """

    def __init__(self, job_folder: JobFolder, part: Shard) -> None:
        self._folder = job_folder.local
        self._part = part
        self._lock = threading.Lock()
        self._file: int | None = None

    def note(self, row: ResultRow) -> None:
        """Note a song whose file is written next. A journal that cannot be written costs no song: that is no error."""
        if self._folder is None:
            return
        with self._lock, contextlib.suppress(OSError, TypeError, ValueError):
            line = json.dumps(dataclasses.asdict(row), default=_plain) + "\n"
            if self._file is not None and os.fstat(self._file).st_nlink == 0:  # cleared by the driver
                os.close(self._file)
                self._file = None
            if self._file is None:
                self._file = self._open(self._folder / RESULTS)
            os.write(self._file, line.encode())

    def rows(self) -> Iterator[ResultRow]:
        """The songs of this part that any process noted and whose files are whole; some may be in the tables."""
        for path in self._files():
            with contextlib.suppress(OSError), path.open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    row = _row(line)
                    if row is not None and self._part.holds(row.index) and self._is_whole(row):
                        yield row

    def clear(self) -> None:
        """Forget what is in the tables now. Notes of the whole job stay for the other parts of a job that was split."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None
            for path in self._files():
                if self._part.of == 1 or _part_of(path) == self._part:
                    with contextlib.suppress(OSError):
                        path.unlink()

    def _open(self, folder: Path) -> int:
        folder.mkdir(exist_ok=True)
        begun = f"{time.time_ns():020}_{os.getpid()}_{secrets.token_hex(4)}"  # the order in which files are read
        name = f".done-{self._part.number}-of-{self._part.of}-{begun}.jsonl"
        return os.open(folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def _files(self) -> list[Path]:
        """The files that may have rows of this part, but for those of parts that may be at work beside it."""
        if self._folder is None:
            return []
        found = sorted(path for path in (self._folder / RESULTS).glob(".done-*.jsonl") if _NAME.fullmatch(path.name))
        return [path for path in found if _part_of(path) == self._part or _part_of(path).of != self._part.of]

    def _is_whole(self, row: ResultRow) -> bool:
        assert self._folder is not None
        try:
            return (self._folder / (row.audio_path or "")).stat().st_size == row.audio_bytes
        except (OSError, ValueError):
            return False


def _plain(value: Any) -> Any:
    """A number of numpy, or a map, as JSON has it."""
    return value.item() if hasattr(value, "item") else dict(value)


def _part_of(path: Path) -> Shard:
    match = _NAME.fullmatch(path.name)
    return Shard(int(match[1]), int(match[2])) if match else Shard()


def _row(line: str) -> ResultRow | None:
    """The song in a line; None for one that was cut off."""
    try:
        content: Any = json.loads(line)
        row = ResultRow(**{name: value for name, value in content.items() if name in _FIELDS})
    except (ValueError, TypeError, AttributeError):
        return None
    return row if row.status == "done" and isinstance(row.index, int) else None
