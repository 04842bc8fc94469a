"""What the footer of a parquet file says of its columns, read in a child process.

Where the statistics of a column are damaged, pyarrow ends the process that asks for its size (C++ `terminate`). A
manifest must not end a job without a word, so a child asks. It gets the footer alone, not the file, and waits a while
for the footer of the next file.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import wait
from typing import IO, TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pyarrow import NativeFile

MAGIC = b"PAR1"
TAIL = 8
"""Bytes behind the footer: its length and the magic."""

SECONDS = 60.0
"""Most that the child may take. It needs a fraction of a second, but machines may be busy."""

IDLE_SECONDS = 10.0
"""How long the child waits for the next footer before it ends."""

LENGTH = 8
"""Bytes before each message that say how long it is."""

CHILD = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from acestep_flows.bulk.parquet_footer import answer_requests
answer_requests(sys.stdin.buffer, sys.stdout.buffer)
"""


class ColumnChunk(NamedTuple):
    """A column of a row group.

    Attributes:
        group: number of the row group; `rows`: how many rows it has.
        path: names down to the column, joined by points.
        packed, unfolded: bytes in the file, and in memory.
        values: more than `rows` for lists.
    """

    group: int
    rows: int
    path: str
    packed: int
    unfolded: int
    values: int

    @property
    def column(self) -> str:
        """The name of the column that it is a part of."""
        return self.path.partition(".")[0]


def column_chunks(file: NativeFile) -> list[ColumnChunk]:
    """The columns of all row groups.

    Args:
        file: whose footer pyarrow has read before. It may be positioned anywhere.

    Raises:
        OSError: the footer is damaged.
    """
    size = file.size()
    file.seek(size - TAIL)
    footer = int.from_bytes(file.read(4), "little")
    file.seek(size - TAIL - footer)
    return [ColumnChunk(*entry) for entry in json.loads(_reader.read(MAGIC + file.read(footer + TAIL)))]


class _Child:
    """A process that reads one footer after the other."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-c", CHILD, json.dumps(sys.path)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout

    def ask(self, footer: bytes) -> bytes | None:
        """The columns as JSON; None if the process has ended.

        Raises:
            TimeoutError: it does not answer.
        """
        try:
            _send(self._requests, footer)
        except BrokenPipeError:
            return None
        if not wait([self._answers.fileno()], SECONDS):
            raise TimeoutError
        return _receive(self._answers)

    def end(self) -> None:
        """Stop the process, whatever it does."""
        self._process.kill()
        self.close_pipes()
        self._process.wait()

    def close_pipes(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # of what it did not read
            self._requests.close()
        self._answers.close()


class _FooterReader:
    """The child of this process: started when it is first needed, used again, replaced when it has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def read(self, footer: bytes) -> bytes:
        """The columns as JSON.

        Raises:
            OSError: the footer is damaged.
        """
        with self._lock:
            answer = self._ask(footer) if self._child is not None else None
            if answer is None:  # there is none, or it had ended before
                self._child = _Child()
                answer = self._ask(footer)
        if answer is None:
            raise OSError("damaged: its footer says what cannot be")
        return answer

    def _ask(self, footer: bytes) -> bytes | None:
        """Ask the child, which is given up unless it answers."""
        assert self._child is not None
        answer = None
        try:
            answer = self._child.ask(footer)
        except TimeoutError:
            raise OSError(f"damaged: its footer was not read in {SECONDS:.0f} s") from None
        finally:
            if answer is None:
                self._end()
        return answer

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def end(self) -> None:
        """End the child, if there is one."""
        with self._lock:
            self._end()

    def forget(self) -> None:
        """In a forked process: the child is the parent's, and must not be kept alive by copies of its pipes."""
        if self._child is not None:
            self._child.close_pipes()
        self.__init__()  # type: ignore[misc]  # the lock may be held by a thread that does not exist here


_reader = _FooterReader()
atexit.register(_reader.end)
os.register_at_fork(after_in_child=_reader.forget)


def answer_requests(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Read footers, each with the magic around it, and write their columns as JSON. This is what the child does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    while wait([requests.fileno()], IDLE_SECONDS) and (footer := _receive(requests)) is not None:
        chunks = list(_chunks(pq.read_metadata(pa.BufferReader(footer))))
        _send(answers, json.dumps(chunks).encode())


def _send(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(len(message).to_bytes(LENGTH, "little") + message)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes | None:
    """The next message; None at the end."""
    length = pipe.read(LENGTH)
    if len(length) < LENGTH:
        return None
    size = int.from_bytes(length, "little")
    message = pipe.read(size)
    return message if len(message) == size else None


def _chunks(metadata: Any) -> Iterator[ColumnChunk]:
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for chunk in (group.column(at) for at in range(group.num_columns)):
            sizes = (chunk.total_compressed_size, chunk.total_uncompressed_size, chunk.num_values)
            yield ColumnChunk(number, group.num_rows, chunk.path_in_schema, *sizes)
