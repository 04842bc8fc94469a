"""An object store that is away: readers hear so within a second, callers get 503, and the server says what is away."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from acestep_flows.api.store.object_store import AWAY_SECONDS, Reader, translate_errors
from acestep_flows.errors import Unavailable
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import opened

SLOW_DOWN = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
SECRET = "marked-secret-0123"
STALL = 1.0
"""Seconds by which a busy machine may be late."""


@contextlib.contextmanager
def port_of(kind: str) -> Iterator[int]:
    """A port on which nothing listens (`refused`), all is answered with 503 (`slow down`), or nothing (`silent`)."""
    listening = socket.create_server(("127.0.0.1", 0))
    port, kept = listening.getsockname()[1], list[socket.socket]()

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                kept.append(connection)
                if kind == "slow down":
                    connection.recv(1 << 16)
                    connection.sendall(SLOW_DOWN)
                    connection.close()

    if kind == "refused":
        listening.close()
    else:
        threading.Thread(target=answer, daemon=True).start()
    try:
        yield port
    finally:
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for connection in kept:
            connection.close()


def reader(port: int) -> Reader:
    place = f"s3://KEY:{SECRET}@songs/home?region=us-east-1&scheme=http&endpoint_override=127.0.0.1%3A{port}"
    files, _ = fs.FileSystem.from_uri(place)
    return Reader(files, place)


@pytest.mark.parametrize("kind", ["refused", "slow down", "silent"])
def test_reading_from_a_store_that_is_away_fails_within_a_second(kind: str) -> None:
    with port_of(kind) as port:
        away = reader(port)
        begun = time.monotonic()
        with pytest.raises(OSError, match="."):
            away.open("songs/home/ab/abc")
        assert time.monotonic() - begun < 1.0 + STALL
        begun = time.monotonic()
        with pytest.raises(OSError, match="."):
            away.check("songs/home/unfinished")
        assert time.monotonic() - begun < AWAY_SECONDS / 2, "it is known to be away"


def test_a_store_that_is_back_is_read() -> None:
    class Files:
        def __init__(self) -> None:
            self.away = True

        def open_input_file(self, path: str) -> str:
            if self.away:
                raise OSError("slow down")
            return path

    files: Any = Files()
    reader = Reader(files)
    with pytest.raises(OSError, match="slow down"):
        reader.open("x")
    files.away = False
    time.sleep(AWAY_SECONDS)
    assert reader.open("x") == "x"


def test_callers_get_503_and_the_server_names_what_is_away(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict, executing=False) as door, port_of("refused") as port:
        store: Any = door.home.artifacts
        wav = b"RIFF" + b"\x00" * 40
        asset = door.home.assets.add(store.put(wav), "audio", content_type="audio/wav", file_name="a.wav")
        there = store._reader, store._errors, store._root
        assert door.client.get(f"/v1/assets/{asset.id}/content").status_code == 200
        errors = partial(translate_errors, kind=Unavailable)
        store._reader, store._errors, store._root = reader(port), errors, "songs/home"
        begun = time.monotonic()
        answer = door.client.get(f"/v1/assets/{asset.id}/content")
        assert time.monotonic() - begun < 1.0 + STALL
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert not any(name in answer.text for name in ("songs", "KEY", SECRET, str(port), "127.0.0.1"))
        ready = door.client.get("/readyz")
        assert (ready.status_code, ready.json()["reason"]) == (503, "the artifact store cannot be reached")
        store._reader, store._errors, store._root = there
        assert door.client.get("/readyz").status_code == 200
        assert door.client.get(f"/v1/assets/{asset.id}/content").content == wav
