"""Connections: slow, silent and too many clients, against a real socket and against a process with few descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
import uvicorn

from acestep_flows.api.server import connections
from acestep_flows.api.server.connections import ConnectionLimits, http_config, within_descriptors
from acestep_flows.runtime.serving.pool import shipped
from tests.api.door import sound

QUICK = ConnectionLimits(
    most=20, header_seconds=1, header_bytes=10_000, headers=50, body_seconds=1, body_bytes=100, read_seconds=1
)
ROOT = Path(__file__).parents[3]


async def application(scope: dict, receive: Callable, send: Callable) -> None:  # type: ignore[type-arg]
    """Answers with the size of the body: /early before the body, /slow after three seconds, /large with much."""
    if scope["type"] != "http":
        return
    size, more = 0, scope["path"] != "/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message.get("more_body", False)
    if scope["path"] == "/slow":
        await asyncio.sleep(3)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(2000 if scope["path"] == "/large" else 0):
        await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
    await send({"type": "http.response.body", "body": str(size).encode()})


@contextlib.contextmanager
def served(limits: ConnectionLimits) -> Iterator[tuple[str, int]]:
    config = http_config(application, limits, host="127.0.0.1", port=0, log_level="error", lifespan="off")  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield "127.0.0.1", server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "SWEEP_SECONDS", 0.1)
        with served(QUICK) as address:
            yield address


def ends(connection: socket.socket, seconds: float = 5) -> bytes:
    """What comes until the server closes the connection."""
    connection.settimeout(seconds)
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65_536):
            received += part
    return received


def drip(connection: socket.socket, piece: bytes, seconds: float = 6) -> bytes:
    """Send a piece every tenth of a second until the server closes the connection; what it said."""
    end = time.monotonic() + seconds
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < end:
            connection.sendall(piece)
            time.sleep(0.1)
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                return connection.recv(65_536)
            connection.setblocking(True)
        raise AssertionError("still open")
    return b""


def test_a_silent_connection_is_closed(address: tuple[str, int]) -> None:
    begun = time.monotonic()
    with socket.create_connection(address) as silent:
        assert ends(silent) == b""
    assert 0.8 < time.monotonic() - begun < 3


def test_headers_must_come_in_time_however_often_a_byte_comes(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        assert b" 408 " in drip(slow, b"a: b\r\n")
    with socket.create_connection(address) as again:  # also the headers of a second request
        again.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        received = b""
        while not received.endswith(b"0\r\n\r\n"):
            received += again.recv(1000)
        again.sendall(b"GET / HTTP/1.1\r\n")
        assert b" 408 " in drip(again, b"a: b\r\n")


def test_headers_without_end_are_refused(address: tuple[str, int]) -> None:
    for endless in (b"GET /" + b"a" * 100_000, b"GET / HTTP/1.1\r\na: " + b"b" * 100_000,
                    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 60 + b"\r\n",
                    b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 60):  # fmt: skip
        with socket.create_connection(address) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(endless)
            assert b" 431 " in ends(connection)[:30] or len(endless) > 10_000


def test_a_body_must_go_on(address: tuple[str, int]) -> None:
    for head in (b"content-length: 100000", b"transfer-encoding: chunked"):
        with socket.create_connection(address) as silent:
            silent.sendall(b"POST / HTTP/1.1\r\nhost: x\r\n" + head + b"\r\n\r\n")
            assert b" 408 " in ends(silent)
    with socket.create_connection(address) as slow:  # fewer than 100 bytes a second
        slow.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n")
        assert b" 408 " in drip(slow, b"x")


def test_a_steady_body_and_a_slow_answer_have_time(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as steady:
        steady.sendall(b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2000\r\n\r\n")
        for _ in range(20):
            steady.sendall(bytes(100))
            time.sleep(0.15)
        assert ends(steady).endswith(b"2000\r\n0\r\n\r\n")
    assert httpx2.get(f"http://{address[0]}:{address[1]}/slow", timeout=10).text == "0"


def test_a_body_may_end_after_its_answer(address: tuple[str, int]) -> None:
    """A client that reads only when it has sent all hears the answer."""
    with socket.create_connection(address) as late:
        late.sendall(b"POST /early HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 400000\r\n\r\n")
        time.sleep(0.2)
        with contextlib.suppress(ConnectionError):
            for _ in range(4):
                late.sendall(bytes(100_000))
                time.sleep(0.05)
        assert b" 431 " not in ends(late)


def test_a_client_that_does_not_read_is_let_go(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as deaf:
        deaf.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        time.sleep(4)
        assert len(ends(deaf)) < 100_000_000
    with socket.create_connection(address) as slow:  # reads a little all the time
        slow.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        slow.settimeout(5)
        for _ in range(30):
            assert slow.recv(400_000)
            time.sleep(0.1)


def test_at_the_bound_idle_connections_give_way(caplog: pytest.LogCaptureFixture) -> None:
    """On a slow machine too: none of them waits long enough to be closed for its silence."""
    patient = replace(QUICK, header_seconds=600)
    with served(patient) as address, httpx2.Client() as client, contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection(address))
            assert client.get(f"http://{address[0]}:{address[1]}/", headers={"connection": "close"}).text == "0"
    assert len([record for record in caplog.records if "which is the limit" in record.message]) == 1


def test_requests_in_hand_do_not_give_way(address: tuple[str, int]) -> None:
    with contextlib.ExitStack() as stack:
        busy = [stack.enter_context(socket.create_connection(address)) for _ in range(QUICK.most)]
        for each in busy:
            each.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        time.sleep(0.5)
        with socket.create_connection(address) as more:
            said = ends(more)
        assert b" 503 " in said
        assert b"retry-after: 5" in said
        assert all(b" 200 " in ends(each, 10) for each in busy)
    assert httpx2.get(f"http://{address[0]}:{address[1]}/").text == "0"


def test_the_bound_lies_below_the_limit_of_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        bounded = within_descriptors(replace(ConnectionLimits(), most=1_000_000))
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert raised >= soft
        assert 16 <= bounded.most < raised - 200
        assert within_descriptors(ConnectionLimits(most=7)).most in (7, 16)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_flood_neither_ends_nor_starves_a_server_with_few_descriptors(small_root: Path, tmp_path: Path) -> None:
    """A server process that may have 512 descriptors, and 1500 connections that say nothing."""
    command = [sys.executable, "-m", "tests.api.server_process", str(tmp_path / "home"), str(small_root)]
    command += [str(shipped() / "local.yaml"), str(tmp_path)]
    limited = ["bash", "-c", 'ulimit -n 512; exec "$@"', "bash", *command]
    log = tmp_path / "log"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            limited, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[2].rstrip(";")
            host, port = url.removeprefix("http://").split(":")
            with contextlib.ExitStack() as stack, httpx2.Client(base_url=url, timeout=20) as client:
                for number in range(1500):
                    stack.enter_context(socket.create_connection((host, int(port))))
                    if number % 300 == 299:
                        assert client.get("/readyz").status_code == 200
                        assert client.post("/v1/assets", content=sound(0.1)).status_code == 201
                assert len(os.listdir(f"/proc/{process.pid}/fd")) < 512 - 50
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    lines = log.read_text().splitlines()
    assert len([line for line in lines if "which is the limit" in line]) == 1, lines
    assert "Too many open files" not in log.read_text()
