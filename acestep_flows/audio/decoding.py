"""Decoding in child processes (`decoder_process`): started when first needed, used again, replaced when one fails.

Threads that decode at the same time have a process each. The processes end with this one, because their pipe closes.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from acestep_flows.audio.containers.pieces import Pieces
from acestep_flows.errors import FlowsError
from acestep_flows.values import FloatArray

MODULE = "acestep_flows.audio.decoder_process"

START = """
import json, os, sys
sys.path[:] = json.loads(sys.argv[1])
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # its threads would not work, but take memory
import importlib
importlib.import_module(sys.argv[2]).main()
"""
"""What the child runs: it finds its packages where this process does."""
HEAD_BYTES = 5
RANGE_BYTES = 8

WALL_SECONDS = 60.0
"""How long a decoder may be silent. Its limit is processor time (`decoder_process`), because machines may be busy."""

MOST_AT_ONCE = max(2, os.cpu_count() or 2)
KEPT = 1
"""Idle decoders that wait for the next file."""


class DecodingError(Exception):
    """A file cannot be decoded, for this reason."""


class DamagedError(DecodingError):
    """libsndfile refuses a file, or a part of it."""


@dataclass(frozen=True)
class Information:
    """What libsndfile says of a file.

    Attributes:
        format: libsndfile's name of the container.
        frames: samples in each channel; beyond any file where they are unknown.
        metadata: title, comment and so on.
    """

    format: str
    sample_rate: int
    channels: int
    frames: int
    metadata: dict[str, str] = field(default_factory=dict)


class _Process:
    """One child process, and the pipe to it.

    Attributes:
        usable: whether it waits for the next file.
    """

    def __init__(self) -> None:
        self.usable = True
        paths = json.dumps([path or os.getcwd() for path in sys.path])
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-c", START, paths, MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._input, self._output = self._child.stdin, self._child.stdout
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)
        self._buffer = bytearray()
        try:
            kind, _ = self.receive()
        except DecodingError:
            kind = b""
        if kind != b"S":
            code = self._child.poll()
            self.end()
            raise FlowsError(f"the audio decoder does not start ({sys.executable} -m {MODULE} ended with {code})")

    def answers(self) -> bool:
        """Whether the process still runs and hears."""
        self.send(b"P")
        try:
            return self.receive()[0] == b"P"
        except DecodingError:
            return False

    def send(self, kind: bytes, content: bytes = b"") -> None:
        message = memoryview(kind + len(content).to_bytes(4, "little") + content)
        with suppress(BrokenPipeError):  # `receive` finds out why
            while message:
                message = message[self._input.write(message) :]

    def receive(self) -> tuple[bytes, bytearray]:
        """The next message.

        Raises:
            DecodingError: the process has ended, or says nothing.
        """
        head = self._read(HEAD_BYTES)
        return bytes(head[:1]), self._read(int.from_bytes(head[1:], "little"))

    def _read(self, size: int) -> bytearray:
        while len(self._buffer) < size:
            if not self._poll.poll(WALL_SECONDS * 1000):
                raise DecodingError(f"nothing decoded in {WALL_SECONDS:.0f} s")
            part = os.read(self._output.fileno(), 1 << 20)
            if not part:
                raise DecodingError(self._reason())
            self._buffer += part
        content = self._buffer[:size]
        del self._buffer[:size]
        return content

    def _reason(self) -> str:
        """Why the process ended."""
        try:
            code = self._child.wait(10)
        except subprocess.TimeoutExpired:
            code = 0
        if code == -signal.SIGPROF:
            return "decoding does not come to an end"
        return "it makes the decoder crash"

    def end(self) -> None:
        """Stop the process, whatever it does."""
        self._child.kill()
        self.close_pipes()
        self._child.wait()

    def close_pipes(self) -> None:
        self._input.close()
        self._output.close()


class _Decoders:
    """The processes of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._idle: list[_Process] = []
        self._all: set[_Process] = set()

    @contextmanager
    def taken(self) -> Iterator[_Process]:
        """A process for one file. It is kept if it is ready for the next one."""
        with self._places:
            process = self._idle_process() or _Process()
            self._all.add(process)
            try:
                yield process
            finally:
                with self._lock:
                    keep = process.usable and len(self._idle) < KEPT
                    if keep:
                        self._idle.append(process)
                if not keep:
                    self._drop(process)

    def _idle_process(self) -> _Process | None:
        """One that waits and lives. Others kill them: Ray, when it stops, kills all children of its process."""
        while True:
            with self._lock:
                process = self._idle.pop() if self._idle else None
            if process is None or process.answers():
                return process
            self._drop(process)

    def _drop(self, process: _Process) -> None:
        self._all.discard(process)
        process.end()

    def end(self) -> None:
        """Stop the idle ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            self._drop(process)

    def forget(self) -> None:
        """In a forked process: they are the parent's, and must not be kept alive by copies of their pipes."""
        for process in self._all:
            process.close_pipes()
        self.__init__()  # type: ignore[misc]  # locks may be held by threads that do not exist here


_decoders = _Decoders()
atexit.register(_decoders.end)
os.register_at_fork(after_in_child=_decoders.forget)


class Decoding:
    """One file being decoded.

    Attributes:
        information: what the file is.
    """

    def __init__(self, process: _Process, file: BinaryIO, content: Pieces) -> None:
        self._process, self._file, self._content = process, file, content
        self._process.usable = False
        self._process.send(b"O", content.size.to_bytes(8, "little"))
        self.information = Information(**json.loads(self._answer(b"I") or b"{}"))
        self._waiting = True

    def blocks(self) -> Iterator[FloatArray]:
        """The samples (n, channels), block by block.

        Raises:
            DamagedError: the file is damaged.
            DecodingError: decoding takes too long or crashes.
        """
        self._waiting = False
        self._process.send(b"G")
        while (content := self._answer(b"B")) is not None:
            yield np.frombuffer(content, np.float32).reshape(-1, self.information.channels)

    def close(self) -> None:
        """End before any block was asked for."""
        if self._waiting:
            self._process.send(b"C")
            self._process.usable = True

    def _answer(self, wanted: bytes) -> bytearray | None:
        """The content of the next message of kind `wanted`; None at the end. Bytes that are asked for are given."""
        while True:
            kind, content = self._process.receive()
            if kind == b"R":
                start = int.from_bytes(content[:RANGE_BYTES], "little")
                size = int.from_bytes(content[RANGE_BYTES:], "little")
                self._process.send(b"D", self._content.read(self._file, start, size))
            elif kind == wanted:
                return content
            elif kind == b"E":
                self._process.usable = True
                return None
            else:
                self._process.usable = True
                raise DamagedError(content.decode("utf-8", "replace"))


@contextmanager
def decoding(file: BinaryIO, content: Pieces) -> Iterator[Decoding]:
    """Decode the virtual file `content`, whose slices are in `file`.

    Raises:
        DecodingError: it cannot be decoded.
    """
    with _decoders.taken() as process:
        decoder = Decoding(process, file, content)
        try:
            yield decoder
        finally:
            decoder.close()


def metadata(file: BinaryIO, content: Pieces) -> dict[str, str]:
    """The tags that libsndfile reads; none where it cannot read the file."""
    try:
        with decoding(file, content) as decoder:
            return decoder.information.metadata
    except DecodingError:
        return {}
