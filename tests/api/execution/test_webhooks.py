"""Webhooks: signed, retried until received, and never sent to a private network."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from acestep_flows.api.execution.webhook_signature import sign
from acestep_flows.api.execution.webhooks import (
    ATTEMPTS,
    CONCURRENT,
    LONGEST_WAIT,
    Resolve,
    Webhooks,
    resolve_host,
    retry_delay,
)
from acestep_flows.api.options import ApiOptions
from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import NewRun, RunRecord, RunState
from acestep_flows.api.store.schema import RUNS
from acestep_flows.errors import StorageError
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import opened
from tests.api.store.with_tables import home_with_tables
from tests.api.toys import until

SECRET = "a secret of the server"
URL = "https://hooks.example/a?b=c"


def due(home: Home, url: str = URL) -> RunRecord:
    """An ended run whose webhook is due."""
    new = NewRun(graph="g", digest="d", content={}, inputs={}, webhook={"url": url})
    run, _ = home.runs.accept(new)
    return home.runs.cancel(run.id)


def send(
    home: Home, handle: Callable[[httpx2.Request], httpx2.Response], *addresses: str, private: bool = False
) -> list[httpx2.Request]:
    """The requests of one round of sending."""
    requests: list[httpx2.Request] = []

    def hear(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return handle(request)

    asyncio.run(send_due(webhooks(home, hear, to(*addresses), private=private)))
    return requests


async def send_due(hooks: Webhooks) -> int:
    """Send the webhooks that are due. Returns how many."""
    runs = await hooks._take(CONCURRENT)
    await asyncio.gather(*(hooks._send(run) for run in runs))
    return len(runs)


def webhooks(home: Home, handle: Any, resolve: Resolve, **more: Any) -> Webhooks:
    def describe(run: RunRecord) -> dict[str, Any]:
        return {"type": "run.cancelled", "run": {"id": run.id}}

    return Webhooks(home.runs, SECRET, describe, transport=httpx2.MockTransport(handle), resolve=resolve, **more)


def to(*addresses: str) -> Resolve:
    """Resolves every name to these addresses; without addresses the lookup fails."""

    async def resolve(host: str, port: int) -> list[str]:
        if not addresses:
            raise OSError("no such host")
        return list(addresses)

    return resolve


def failures(home: Home, run: RunRecord) -> int:
    with home.database.read() as connection:
        return int(connection.execute(select(RUNS.c.webhook_failures).where(RUNS.c.id == run.id)).scalar_one())


@pytest.fixture
def home(tmp_path: Path) -> Any:
    home = Home.open(home_with_tables(tmp_path))
    yield home
    home.close()


def ok(request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(204)


def test_a_webhook_is_signed_and_sent_once(home: Home) -> None:
    run = due(home)
    (request,) = send(home, ok, "93.184.216.34")
    assert json.loads(request.content) == {"type": "run.cancelled", "run": {"id": run.id}}
    stamp = request.headers["webhook-timestamp"]
    assert abs(int(stamp) - time.time()) < 60
    assert request.headers["webhook-id"] == run.id
    signed = hmac.new(SECRET.encode(), f"{run.id}.{stamp}.".encode() + request.content, hashlib.sha256).digest()
    assert request.headers["webhook-signature"] == "v1," + base64.b64encode(signed).decode()
    assert send(home, ok, "93.184.216.34") == []


def test_a_webhook_of_the_start_has_an_id_of_its_own(home: Home) -> None:
    new = NewRun(graph="g", digest="d", content={}, inputs={}, webhook={"url": URL, "events": ["start", "completed"]})
    run, _ = home.runs.accept(new)
    claimed = home.leases.claim("e")
    assert claimed is not None
    (started,) = send(home, ok, "93.184.216.34")
    home.leases.finish(claimed.lease, RunState.SUCCEEDED)
    (ended,) = send(home, ok, "93.184.216.34")
    assert [request.headers["webhook-id"] for request in (started, ended)] == [f"{run.id}.start", run.id]
    assert send(home, ok, "93.184.216.34") == []


def test_it_connects_to_the_checked_address_with_the_original_host_name(home: Home) -> None:
    due(home)
    (request,) = send(home, ok, "93.184.216.34", "1.1.1.1")
    assert request.url.host == "93.184.216.34"
    assert request.headers["host"] == "hooks.example"
    assert request.extensions["sni_hostname"] == "hooks.example"
    assert (request.url.path, request.url.query) == ("/a", b"b=c")


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("10.0.0.1",), ("93.184.216.34", "192.168.1.1"), ("::1",), ()])
def test_a_host_with_a_private_address_is_not_called(home: Home, addresses: tuple[str, ...]) -> None:
    due(home)
    assert send(home, ok, *addresses) == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost."])
def test_names_of_this_machine_are_refused_after_lookup(home: Home, host: str) -> None:
    run = due(home, f"http://{host}:1/")
    requests: list[httpx2.Request] = []
    asyncio.run(send_due(webhooks(home, requests.append, resolve_host)))
    assert requests == []
    assert failures(home, run) == 1


def test_a_name_that_cannot_be_looked_up_is_a_failure_like_any_other(home: Home) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise UnicodeError("label empty or too long")

    run = due(home)
    assert asyncio.run(send_due(webhooks(home, ok, resolve))) == 1
    assert failures(home, run) == 1


def test_a_failing_body_does_not_stop_other_webhooks(home: Home) -> None:
    bad, good = due(home), due(home)
    sent = []

    def describe(run: RunRecord) -> dict[str, Any]:
        if run.id == bad.id:
            raise ValueError("what is it")
        return {}

    def hear(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.headers["webhook-id"])
        return ok(request)

    hooks = Webhooks(home.runs, SECRET, describe, transport=httpx2.MockTransport(hear), resolve=to("1.1.1.1"))
    asyncio.run(send_due(hooks))
    assert sent == [good.id]
    assert (failures(home, bad), failures(home, good)) == (1, 0)


def test_the_next_address_is_tried_if_one_is_unreachable(home: Home) -> None:
    def first_is_gone(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "2606:4700::1111":
            raise httpx2.ConnectTimeout("no")
        return httpx2.Response(204)

    run = due(home)
    requests = send(home, first_is_gone, "2606:4700::1111", "1.1.1.1", "1.0.0.1")
    assert [request.url.host for request in requests] == ["2606:4700::1111", "1.1.1.1"]
    assert failures(home, run) == 0


def test_a_request_that_was_sent_is_not_sent_to_another_address(home: Home) -> None:
    def breaks(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadError("in the middle")

    run = due(home)
    assert len(send(home, breaks, "1.1.1.1", "1.0.0.1")) == 1
    assert failures(home, run) == 1


def test_a_slow_receiver_is_cut_off_after_the_time_limit(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver sends a byte now and then, so the read timeout never applies."""
    monkeypatch.setattr("acestep_flows.api.execution.webhooks.LONGEST_POST", 0.5)

    hung_up = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"H")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()
        hung_up.set()

    async def one_round() -> float:
        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        due(home, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        hooks = Webhooks(home.runs, SECRET, lambda run: {}, private=True)
        begun = time.monotonic()
        await send_due(hooks)
        took = time.monotonic() - begun
        await hung_up.wait()
        server.close()
        return took

    assert 0.4 < asyncio.run(one_round()) < 10
    with home.database.read() as connection:
        assert connection.execute(select(RUNS.c.webhook_failures)).scalar_one() == 1


def test_receivers_that_never_answer_do_not_delay_others(home: Home) -> None:
    for _ in range(CONCURRENT - 1):
        due(home, "https://hooks.example/slow")
    quick = [due(home, "https://hooks.example/quick").id for _ in range(15)]
    received: list[str] = []

    async def hear(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/slow":
            await asyncio.Event().wait()
        received.append(request.headers["webhook-id"])
        return httpx2.Response(204)

    async def until_heard() -> None:
        task = asyncio.create_task(webhooks(home, hear, to("1.1.1.1")).run())
        await until(lambda: len(received) == len(quick), 15)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(until_heard())
    assert sorted(received) == sorted(quick)


def test_a_table_that_fails_is_counted_and_asked_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acestep_flows.api.execution.webhooks.POLL", 0.01)
    whole, received = home.runs.take_webhooks, []
    refusals = [StorageError("full"), RuntimeError("odd")]

    def take(*args: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return whole(*args)

    monkeypatch.setattr(home.runs, "take_webhooks", take)
    due(home)

    def hear(request: httpx2.Request) -> httpx2.Response:
        received.append(request)
        return ok(request)

    async def until_heard() -> Counter[str]:
        counted: Counter[str] = Counter()
        task = asyncio.create_task(webhooks(home, hear, to("1.1.1.1"), failures=counted).run())
        await until(lambda: received)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return counted

    assert asyncio.run(until_heard()) == {"webhooks": 2}


def test_private_addresses_are_called_if_the_operator_allows_it(home: Home) -> None:
    due(home)
    assert len(send(home, ok, "10.0.0.1", private=True)) == 1


@pytest.mark.parametrize("status", [301, 404, 429, 500])
def test_a_failed_webhook_is_sent_again(home: Home, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acestep_flows.api.execution.webhooks.retry_delay", lambda elapsed: 0.0)
    due(home)

    def refuse(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, headers={"Location": "http://127.0.0.1/"})

    for _ in range(ATTEMPTS):
        (request,) = send(home, refuse, "93.184.216.34")
        assert request.url.host == "93.184.216.34", "redirects are not followed"
    assert send(home, ok, "93.184.216.34") == [], "given up"


def test_a_connection_that_fails_does_not_stop_the_others(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acestep_flows.api.execution.webhooks.retry_delay", lambda elapsed: 0.0)
    broken, fine = due(home, "https://hooks.example/broken"), due(home)

    def half(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/broken":
            raise httpx2.ConnectError("no")
        return httpx2.Response(200)

    assert {request.headers["webhook-id"] for request in send(home, half, "1.1.1.1")} == {broken.id, fine.id}
    assert [request.headers["webhook-id"] for request in send(home, ok, "1.1.1.1")] == [broken.id]


def test_retry_delays_double_up_to_a_limit() -> None:
    waits = [retry_delay(elapsed) for elapsed in (0, 10, 100, 1e6)]
    assert waits == sorted(waits)
    assert waits[0] >= 4
    assert waits[-1] <= LONGEST_WAIT * 1.2


def test_the_end_of_a_run_is_posted_until_it_is_received(
    strict: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acestep_flows.api.execution.webhooks.FIRST_WAIT", 0.1)
    monkeypatch.setattr("acestep_flows.api.execution.webhooks.POLL", 0.05)
    posts: list[tuple[Any, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posts.append((self.headers, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(500 if len(posts) == 1 else 204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    options = ApiOptions(private_webhooks=True)
    with opened(tmp_path, strict, options=options, webhook_secret=SECRET) as door:
        run = door.finished(webhook=url)
        end = time.monotonic() + 20
        while len(posts) < 2:
            assert time.monotonic() < end
            time.sleep(0.05)
        headers, body = posts[1]
        content = json.loads(body)
        assert content["type"] == "run.succeeded"
        assert content["run"]["id"] == run["id"]
        assert content["run"]["outputs"] == run["outputs"]
        stamp = int(headers["webhook-timestamp"])
        assert headers["webhook-signature"] == sign(SECRET, run["id"], stamp, body)
    server.shutdown()
    server.server_close()
