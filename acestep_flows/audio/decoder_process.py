"""The child process that decodes: libsndfile on bytes from strangers, where it can be stopped.

It opens no file. It asks the parent for bytes, and gives samples back. A timer of processor time ends it when it works
too long without giving any; its memory is limited. Run with `python -m acestep_flows.audio.decoder_process`.

Messages in both directions are a letter, the length of the content (4 bytes, little-endian) and the content.

From the parent: `P` is anyone there, `O` open a file (its size), `D` the bytes asked for, `G` go on and decode, `C`
close the file.
To the parent: `S` started, `P` yes, `R` read (start and size), `I` what the file is (JSON), `B` a block of samples
(fp32, interleaved), `E` the end, `F` a failure (text).
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
from collections import OrderedDict
from contextlib import suppress
from io import SEEK_CUR, SEEK_END, SEEK_SET
from typing import BinaryIO

import soundfile

PROCESSOR_SECONDS = 1.5
"""How long it may work without giving a block."""

MEMORY_BYTES = 1 << 30
BLOCK_FRAMES, BLOCK_BYTES = 1 << 14, 1 << 20
UNKNOWN_FRAMES = 2**63 - 1
PAGE_BYTES, PAGES = 1 << 18, 8

HEAD = struct.Struct("<cI")
RANGE = struct.Struct("<QI")


class Pipe:
    """Messages from and to the other process."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._incoming, self._outgoing = incoming, outgoing

    def send(self, kind: bytes, content: bytes | bytearray | memoryview = b"") -> None:
        self._outgoing.write(HEAD.pack(kind, len(content)))
        self._outgoing.write(content)
        self._outgoing.flush()

    def receive(self) -> tuple[bytes, bytes]:
        """The next message.

        Raises:
            EOFError: the other process has ended.
        """
        head = self._incoming.read(HEAD.size)
        if len(head) < HEAD.size:
            raise EOFError
        kind, size = HEAD.unpack(head)
        content = self._incoming.read(size)
        if len(content) < size:
            raise EOFError
        return kind, content


class _RemoteFile:
    """The parent's file, as libsndfile reads it: through pages, and with seeks that stay inside.

    With a damaged header libsndfile may seek before the start. An exception in its callback would print a traceback on
    standard error, so such a seek goes to the start.
    """

    def __init__(self, pipe: Pipe, size: int) -> None:
        self._pipe, self._size, self._position = pipe, size, 0
        self._pages: OrderedDict[int, bytes] = OrderedDict()

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        base = {SEEK_SET: 0, SEEK_CUR: self._position, SEEK_END: self._size}[whence]
        self._position = min(max(0, base + offset), self._size)
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        wanted = min(max(0, size), self._size - self._position)
        content: list[bytes] = []
        while wanted > 0:
            number, offset = divmod(self._position, PAGE_BYTES)
            part = self._page(number)[offset : offset + wanted]
            if not part:
                break
            content.append(part)
            self._position += len(part)
            wanted -= len(part)
        return b"".join(content)

    def _page(self, number: int) -> bytes:
        if number not in self._pages:
            start = number * PAGE_BYTES
            self._pipe.send(b"R", RANGE.pack(start, min(PAGE_BYTES, self._size - start)))
            self._pages[number] = self._pipe.receive()[1]
            if len(self._pages) > PAGES:
                self._pages.popitem(last=False)
        self._pages.move_to_end(number)
        return self._pages[number]


class _Sound(soundfile.SoundFile):  # type: ignore[misc]  # it has no types
    """A decoder that only reads on. soundfile seeks after each read where it can, which fails for unknown lengths."""

    def seekable(self) -> bool:
        return False


def _decode(pipe: Pipe, size: int) -> None:
    _watch()
    try:
        with _Sound(_RemoteFile(pipe, size)) as sound:
            pipe.send(b"I", json.dumps(_information(sound)).encode())
            if pipe.receive()[0] != b"G":
                return
            _give(pipe, sound)
    except soundfile.LibsndfileError as error:
        pipe.send(b"F", error.error_string.removeprefix("Error : ").rstrip(" .").encode())
    except (MemoryError, RuntimeError, ValueError, TypeError, AssertionError) as error:
        pipe.send(b"F", f"{type(error).__name__} {error}".rstrip().encode())
    else:
        pipe.send(b"E")


def _give(pipe: Pipe, sound: soundfile.SoundFile) -> None:
    """Give all samples of a file, block by block."""
    frames, size = max(1, min(BLOCK_FRAMES, BLOCK_BYTES // (4 * sound.channels))), 4 * sound.channels
    buffer = memoryview(bytearray(frames * size))
    # Behind the last frame of a FLAC may be anything, which libFLAC would take for damage.
    left = sound.frames if sound.format == "FLAC" else UNKNOWN_FRAMES
    _watch()
    while left and (count := sound.buffer_read_into(buffer[: min(frames, left) * size], "float32")):
        left -= count
        pipe.send(b"B", buffer[: count * size])
        _watch()


def _information(sound: soundfile.SoundFile) -> dict[str, object]:
    return {
        "format": sound.format,
        "sample_rate": sound.samplerate,
        "channels": sound.channels,
        "frames": sound.frames,
        "metadata": sound.copy_metadata(),
    }


def _watch() -> None:
    """Start the timer anew. When it ends, SIGPROF ends the process, also inside libsndfile."""
    signal.setitimer(signal.ITIMER_PROF, PROCESSOR_SECONDS)


def main() -> None:
    """Serve the parent until it closes the pipe."""
    outgoing = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libsndfile prints, which must not get among the messages
    pipe = Pipe(sys.stdin.buffer, outgoing)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    with suppress(ValueError, OSError):  # not every system limits memory
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(EOFError, BrokenPipeError):
        pipe.send(b"S")
        while True:
            kind, content = pipe.receive()
            if kind == b"P":
                pipe.send(b"P")
            elif kind == b"O":
                _decode(pipe, int.from_bytes(content, "little"))
