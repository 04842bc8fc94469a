"""Both clients against a server that loses connections and refuses requests."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import pickle
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

import acestep_flows
from acestep_flows.client import AsyncClient, Client, Output
from acestep_flows.client.retry import RetryBudget
from acestep_flows.errors import (
    DownloadError,
    FlowsError,
    GraphError,
    InputError,
    NotFound,
    Overloaded,
    RateLimited,
    StageError,
    TimedOut,
    Unavailable,
    Unreachable,
)
from tests.client.stub import CREATED, RUN, Answer, Request, Stub, event, fault, json_answer, run, serving

T = TypeVar("T")

EVENTS = [event(1, "accepted"), event(2, "started"), event(3, "progress", "take", step=1, steps=2, progress=0.1)]
EVENTS += [event(4, "finished", "take", seconds=1.5), event(5, "succeeded", progress=1.0)]
SONG = bytes(range(256)) * 40
OUTPUT = {"url": "/", "content_type": "audio/flac", "bytes": len(SONG), "kind": "audio", "asset": "asset-1"}


class Waiting:
    """The asynchronous client with the interface of the synchronous one."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(*args, **options)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*args: Any, **more: Any) -> Any:
            result = method(*args, **more)
            return iter(self._runner.run(_all(result))) if hasattr(result, "__aiter__") else self._runner.run(result)

        return call

    def __enter__(self) -> Waiting:
        return self

    def __exit__(self, *error: object) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


async def _all(items: Any) -> list[Any]:
    return [item async for item in items]


@pytest.fixture(params=[Client, Waiting])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(Stub(lambda request: json_answer(run()))) as stub:
        yield stub


def follow(request: Request) -> Answer:
    """The events after the one that the client names."""
    after = int(request.headers.get("last-event-id", 0))
    return Answer(200, b"".join(EVENTS[after:])) if after < len(EVENTS) else Answer(204)


def test_the_package_exports_the_clients_lazily() -> None:
    assert acestep_flows.Client is Client
    assert acestep_flows.AsyncClient is AsyncClient
    with pytest.raises(AttributeError):
        acestep_flows.Server  # noqa: B018


def test_a_submission_is_repeated_with_the_same_idempotency_key(make: Any, stub: Stub) -> None:
    stub.answers = [
        Answer(202, b"{}", {"Content-Length": "100"}),
        Answer(502, b"<html>"),
        json_answer(run("queued"), 202),
    ]
    with make(stub.url, "af_secret") as client:
        record = client.submit("text2music", {"tags": "x", "of": Output.read(OUTPUT)}, priority=3, webhook=None)
    assert (record.id, record.state, record.ended) == (RUN, "queued", False)
    assert record.content["later"] == 1
    bodies = [request.json() for request in stub.requests]
    assert bodies[0] == bodies[1] == bodies[2]
    key = bodies[0].pop("idempotency_key")
    assert len(key) > 20
    assert bodies[0] == {"graph": "text2music", "inputs": {"tags": "x", "of": "asset-1"}, "priority": 3}
    assert stub.requests[0].headers["authorization"] == "Bearer af_secret"


@pytest.mark.parametrize("cut", range(0, sum(map(len, EVENTS)), 37))
def test_events_resume_after_a_lost_connection(make: Any, stub: Stub, cut: int) -> None:
    stub.otherwise = follow
    stub.answers = [Answer(200, b"".join(EVENTS), {}, cut)]
    with make(stub.url) as client:
        events = list(client.events(RUN))
    assert [each.seq for each in events] == [1, 2, 3, 4, 5]
    assert events[2].content["step"] == 1
    assert [each.last for each in events] == [False] * 4 + [True]


def test_events_that_are_all_known_end_at_once(make: Any, stub: Stub) -> None:
    stub.otherwise = follow
    with make(stub.url) as client:
        assert list(client.events(RUN, after=5)) == []
        assert [each.seq for each in client.events(RUN, after=3)] == [4, 5]


def test_a_server_that_never_answers_is_given_up(make: Any, stub: Stub) -> None:
    stub.otherwise = lambda request: Answer(503, b"starting")
    with make(stub.url, patience=0.3) as client:
        for ask in (lambda: client.status(RUN), lambda: list(client.events(RUN))):
            with pytest.raises(Unreachable, match="does not answer"):
                ask()
    assert len(stub.requests) >= 4
    with make("http://127.0.0.1:9", patience=0.0) as client, pytest.raises(Unreachable):
        client.graphs()


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (fault("not_found", "no run 'x'", 404), NotFound, "no run 'x'"),
        (fault("invalid_input", "duration: 900", 422), InputError, "duration: 900"),
        (fault("stage_failed", "node take: no", 500, node="take"), StageError, "node take: no"),
        (fault("rate_limited", "slowly", 429), RateLimited, "slowly"),
        (fault("of_the_future", "what", 418), FlowsError, "what"),
        (Answer(418, b"[]"), FlowsError, "status 418"),
        (Answer(200, b"<html>"), FlowsError, "not a JSON object"),
    ],
)
def test_error_responses_raise_the_errors_of_the_library(
    make: Any, stub: Stub, answer: Answer, kind: type[FlowsError], text: str
) -> None:
    stub.answers = [answer]
    with make(stub.url, patience=0) as client, pytest.raises(kind, match=text) as caught:
        client.status("x/../y")
    assert len(stub.requests) == 1
    assert stub.requests[0].path == "/v1/runs/x%2F..%2Fy"
    if b"of_the_future" in answer.body:
        assert caught.value.code == "of_the_future"


def test_a_refusal_says_which_limit_was_reached(make: Any, stub: Stub) -> None:
    stub.answers = [
        fault("rate_limited", "slowly", 429, limit="requests_per_minute"),
        fault("quota_exceeded", "enough", 429, limit="stored_bytes"),
        fault("rate_limited", "slowly", 429),
    ]
    with make(stub.url, patience=0) as client:
        for limit in ("requests_per_minute", "stored_bytes", ""):
            with pytest.raises(RateLimited) as refused:
                client.me()
            assert refused.value.limit == limit


def test_an_error_has_its_field_and_what_is_allowed(make: Any, stub: Stub) -> None:
    stub.answers = [
        fault("invalid_input", "duration: 900 (allowed: 1 to 240 s)", 422, field="duration", allowed="1 to 240 s"),
        fault("unsupported_media_type", "Content-Type: missing", 415, field="Content-Type"),
        fault("not_found", "no run 'x'", 404),
    ]
    with make(stub.url) as client:
        with pytest.raises(InputError) as wrong:
            client.status(RUN)
        assert (wrong.value.field, wrong.value.allowed) == ("duration", "1 to 240 s")
        with pytest.raises(InputError) as media:
            client.status(RUN)
        assert (media.value.field, media.value.allowed) == ("Content-Type", "")
        with pytest.raises(NotFound) as missing:
            client.status("x")
        assert (missing.value.field, missing.value.allowed) == ("", "")


def test_whatever_is_raised_has_a_field_and_what_is_allowed(make: Any) -> None:
    """So that one handler can log them, also when no server answers."""
    with make(f"http://127.0.0.1:{free_port()}", patience=0) as client, pytest.raises(FlowsError) as refused:
        client.stats()
    assert isinstance(refused.value, Unreachable)
    assert (refused.value.field, refused.value.allowed) == ("", "")


def test_several_faults_come_one_by_one(make: Any, stub: Stub) -> None:
    each = [
        {"field": "duration", "message": "duration: 900 (allowed: 1 to 240 s)", "allowed": "1 to 240 s"},
        {"field": "tags", "message": "tags: missing", "allowed": ""},
    ]
    whole = "; ".join(one["message"] for one in each)
    stub.answers = [fault("invalid_input", whole, 422, field="duration", allowed="1 to 240 s", faults=each)]
    with make(stub.url) as client, pytest.raises(InputError) as wrong:
        client.submit("text2music")
    assert str(wrong.value) == whole
    told = [{"field": one.field, "message": str(one), "allowed": one.allowed} for one in wrong.value.faults]
    assert told == each


def test_a_graph_is_a_name_a_map_or_for_a_check_a_file(make: Any, stub: Stub, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("graph: mine\n")
    with make(stub.url) as client:
        with pytest.raises(InputError, match="graph: a value of type PosixPath .*submit FILE") as wrong:
            client.submit(file)
        assert wrong.value.field == "graph"
        assert not stub.requests
        with pytest.raises(InputError, match="not readable"):
            client.check(tmp_path / "none.yaml")
        stub.answers = [json_answer({"ok": True, "problems": []})]
        client.check(file)
        assert stub.requests[-1].json() == {"graph": "graph: mine\n"}


def test_the_environment_names_server_and_key(make: Any, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACESTEP_FLOWS_SERVER", stub.url)
    monkeypatch.setenv("ACESTEP_FLOWS_API_KEY", "af_environment")
    for arguments in ({}, {"key": "af_mine"}, {"server": stub.url, "key": ""}, {"server": stub.url}):
        with make(**arguments) as client:
            client.stats()
    sent = [request.headers.get("authorization") for request in stub.requests]
    assert sent == ["Bearer af_environment", "Bearer af_mine", None, "Bearer af_environment"]
    monkeypatch.setenv("ACESTEP_FLOWS_SERVER", "not an address")
    with make(stub.url) as client:
        client.stats()
    with pytest.raises(InputError, match="'not an address' is not the address of a server"):
        make()


def test_without_environment_the_server_is_on_this_machine(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACESTEP_FLOWS_SERVER", raising=False)
    with make(patience=0.0) as client, pytest.raises(Unreachable) as caught:
        client.stats()
    assert str(caught.value).startswith("http://127.0.0.1:8777 does not answer: ")


@pytest.mark.parametrize(("name", "meant"), [("api_key", "key"), ("base_url", "server"), ("timeout", "patience")])
def test_arguments_of_other_clients_are_answered(make: Any, name: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"Client takes no '{name}'; did you mean '{meant}'"):
        make(**{name: "x"})


def free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def test_a_client_says_once_that_it_waits(
    make: Any, stub: Stub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing listens on a port of this machine, which is said in a second or two, with what to do."""
    monkeypatch.setattr("acestep_flows.client.retry.WORTH_TELLING", 0.2)
    monkeypatch.setattr("acestep_flows.client.retry.TELL_AFTER", 0.2)
    with make(f"http://127.0.0.1:{free_port()}", patience=1.5) as client, pytest.raises(Unreachable) as caught:
        client.graphs()
    (record,) = caplog.records
    assert (record.levelname, record.name) == ("WARNING", "acestep_flows.client.retry")
    for text in (record.getMessage(), str(caught.value)):
        assert "does not answer: " in text
        assert "`acestep-flows serve` starts a server" in text
        assert "ACESTEP_FLOWS_SERVER" not in text, "the caller has named a server"
    assert "waiting for it for up to 1 s" in record.getMessage()
    caplog.clear()
    stub.answers = [Answer(502, b"")]
    with make(stub.url) as client:
        client.stats()
    assert not caplog.records, "a short pause is no news"


def test_whoever_named_no_server_is_told_how(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACESTEP_FLOWS_SERVER", f"http://127.0.0.1:{free_port()}")
    advice = "`acestep-flows serve` starts a server, and ACESTEP_FLOWS_SERVER or `server` (--server) names another"
    with make(patience=0) as client, pytest.raises(Unreachable, match=re.escape(advice)):
        client.graphs()


def test_calls_that_wait_for_one_server_say_it_once(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("acestep_flows.client.retry.WORTH_TELLING", 0.2)
    monkeypatch.setattr("acestep_flows.client.retry.TELL_AFTER", 0.2)
    with Client(f"http://127.0.0.1:{free_port()}", patience=1.0) as client, ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(client.graphs) for _ in range(4)]
        assert all(isinstance(call.exception(), Unreachable) for call in waiting)
    assert len(caplog.records) == 1


def test_a_client_with_other_patience_has_the_same_connections(stub: Stub) -> None:
    with Client(stub.url) as client:
        hasty = client.with_patience(0)
        assert (hasty.patience, client.patience) == (0, 60)
        assert hasty.status(RUN).id == RUN
        with pytest.raises(InputError, match="patience: -1"):
            client.with_patience(-1)


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9"])
def test_no_proxy_is_used_for_this_machine(make: Any, stub: Stub, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with make(stub.url, patience=0.0) as client:
        client.stats()
    assert len(stub.requests) == 1


def test_a_socks_proxy_for_another_machine_is_one_line(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@proxy:1080")
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    with pytest.raises(InputError, match="ALL_PROXY: a SOCKS proxy needs the package socksio") as refused:
        make("http://music.example.org")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("webhook", "field"), [("http://10.0.0.1/h", "webhook"), ({"url": "http://10.0.0.1/h"}, "webhook.url")]
)
def test_a_wrong_webhook_is_named_as_it_was_given(make: Any, stub: Stub, webhook: Any, field: str) -> None:
    allowed = "a public address"
    message = f"webhook.url: a private address (allowed: {allowed})"
    stub.answers = [fault("invalid_input", message, 422, field="webhook.url", allowed=allowed)]
    with make(stub.url) as client, pytest.raises(InputError) as refused:
        client.submit("text2music", webhook=webhook)
    assert (refused.value.field, refused.value.where, refused.value.allowed) == (field, field, allowed)
    assert str(refused.value) == message.replace("webhook.url", field)


def test_a_webhook_may_be_its_url(make: Any, stub: Stub) -> None:
    with make(stub.url) as client:
        client.submit("text2music", webhook="https://a.example/h")
        client.submit("text2music", webhook={"url": "https://a.example/h"})
    assert [request.json()["webhook"] for request in stub.requests] == [{"url": "https://a.example/h"}] * 2


def test_retry_after_and_graph_problems_reach_the_caller(make: Any, stub: Stub) -> None:
    problems = [{"rule": "unknown-stage", "message": "no", "file": "graph", "line": 3, "column": 1, "node": None}]
    full = fault("overloaded", "the queue is full", 503)
    stub.answers = [Answer(full.status, full.body, {"Retry-After": "7"})]
    stub.answers += [fault("invalid_graph", "wrong", 422, problems=problems)]
    with make(stub.url, patience=5) as client:
        with pytest.raises(Overloaded) as caught:
            client.submit("text2music")
        assert caught.value.retry_after == 7
        with pytest.raises(GraphError) as wrong:
            client.submit({"graph": "mine"})
    assert [str(problem) for problem in wrong.value.problems] == ["graph:3:1: no"]


def test_wait_returns_the_run_in_any_end_state(make: Any, stub: Stub) -> None:
    error = {"code": "stage_failed", "message": "node take: out of memory", "node": "take"}
    stub.answers = [Answer(502, b"<html>"), json_answer(run("running")), json_answer(run("failed", error=error))]
    with make(stub.url) as client:
        record = client.wait(RUN)
        assert isinstance(record.failure, StageError)
        assert record.failure.node == "take"
        assert {request.path for request in stub.requests} == {f"/v1/runs/{RUN}?wait=10.0"}
        with pytest.raises(TimeoutError, match="running"):
            client.wait(RUN, timeout=0)
        assert stub.requests[-1].path == f"/v1/runs/{RUN}"


def test_a_wait_that_is_over_says_how_to_go_on(make: Any, stub: Stub) -> None:
    with make(stub.url) as client:
        with pytest.raises(TimedOut) as over:
            client.wait(RUN, timeout=0)
        stub.answers = [json_answer(run("succeeded"))]
        assert client.wait(RUN).state == "succeeded", "it can be waited for again"
    assert isinstance(over.value, FlowsError)
    assert isinstance(over.value, TimeoutError)
    line = f"run {RUN} is running after 0 s, and goes on; wait(run) waits again, cancel(run) stops it"
    assert (str(over.value), over.value.code, over.value.field) == (line, "timed_out", "timeout")
    again = pickle.loads(pickle.dumps(over.value))
    assert (type(again), str(again)) == (TimedOut, line)


def test_a_server_that_responds_at_once_is_polled(make: Any, stub: Stub) -> None:
    with make(stub.url) as client, pytest.raises(TimeoutError, match="is running after 2.0 s"):
        client.wait(RUN, timeout=2.0)
    assert 3 < len(stub.requests) < 11
    waits = [float(request.path.partition("wait=")[2] or 0) for request in stub.requests]
    assert waits == sorted(waits, reverse=True)


def test_both_clients_have_the_same_methods() -> None:
    def signatures(kind: type) -> dict[str, Any]:
        return {name: list(inspect.signature(method).parameters.values())
                for name, method in inspect.getmembers(kind, inspect.isfunction)
                if not name.startswith("_")}  # fmt: skip

    assert signatures(Client) == signatures(AsyncClient)


def ranged(request: Request) -> Answer:
    """The song, or the requested range of it."""
    if not request.path.endswith("/outputs/audio"):
        return json_answer(run("succeeded", outputs={"audio": OUTPUT | {"file_name": "song.flac"}}))
    tag = {"ETag": f'"{hashlib.sha256(SONG).hexdigest()}"'}
    wanted = request.headers.get("range")
    if wanted is None:
        return Answer(200, SONG, tag)
    start = int(wanted.removeprefix("bytes=").rstrip("-"))
    if start >= len(SONG):
        return Answer(416, b"", tag | {"Content-Range": f"bytes */{len(SONG)}"})
    return Answer(206, SONG[start:], tag | {"Content-Range": f"bytes {start}-{len(SONG) - 1}/{len(SONG)}"})


@pytest.mark.parametrize("cut", [0, 1, 5000, len(SONG) - 1])
def test_a_download_resumes_after_a_lost_connection(make: Any, stub: Stub, tmp_path: Path, cut: int) -> None:
    stub.otherwise = ranged
    whole = Answer(200, SONG, {"ETag": f'"{hashlib.sha256(SONG).hexdigest()}"'}, cut)
    stub.answers = [ranged(Request("GET", "/", {}, b"")), whole]
    progress: list[tuple[int, int]] = []
    with make(stub.url) as client:
        path = client.fetch_output(RUN, "audio", tmp_path, lambda done, total: progress.append((done, total)))
    assert path == tmp_path / "song.flac"
    assert path.read_bytes() == SONG
    assert list(tmp_path.iterdir()) == [path]
    assert progress[-1] == (len(SONG), len(SONG))
    assert stub.requests[-1].headers.get("range") == (f"bytes={cut}-" if cut else None)


def test_a_download_resumes_in_a_later_call(make: Any, stub: Stub, tmp_path: Path) -> None:
    stub.otherwise = ranged
    stub.answers = [ranged(Request("GET", "/", {}, b"")), Answer(200, SONG, {}, 3000)]
    target = tmp_path / "deep" / "mine.flac"
    with make(stub.url, patience=0.0) as client:
        with pytest.raises(Unreachable):
            client.fetch_output(RUN, "audio", target)
        assert not target.exists()
        assert client.fetch_output(RUN, "audio", target).read_bytes() == SONG
    assert stub.requests[-1].headers["range"] == "bytes=3000-"


def test_content_with_another_digest_is_discarded(make: Any, stub: Stub, tmp_path: Path) -> None:
    stub.otherwise = ranged
    stub.answers = [ranged(Request("GET", "/", {}, b"")), Answer(200, SONG, {"ETag": f'"{"0" * 64}"'})]
    with make(stub.url) as client:
        with pytest.raises(DownloadError, match="content differs"):
            client.fetch_output(RUN, "audio", tmp_path)
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(NotFound, match="no output 'video'; there are: audio"):
            client.fetch_output(RUN, "video", tmp_path)


@pytest.mark.parametrize(
    ("state", "more", "name", "said"),
    [
        ("succeeded", {}, "audoi", "has no output 'audoi', nearest 'audio'; there are: audio, latents"),
        ("succeeded", {}, "video", "has no output 'video'; there are: audio, latents"),
        ("cancelled", {}, "audio", "has no output 'audio'; there are: none, it was cancelled"),
        ("queued", {}, "audio", "has no output 'audio'; there are: none, it is queued"),
        (
            "failed",
            {"error": {"code": "stage_failed", "message": "node take: out of memory", "node": "take"}},
            "audio",
            "has no output 'audio'; there are: none, it failed: node take: out of memory",
        ),
    ],
)
def test_an_output_that_a_run_does_not_have(
    make: Any, stub: Stub, tmp_path: Path, state: str, more: dict[str, Any], name: str, said: str
) -> None:
    outputs = {"audio": OUTPUT, "latents": OUTPUT} if state == "succeeded" else {}
    stub.otherwise = lambda request: json_answer(run(state, outputs=outputs, **more))
    with make(stub.url) as client, pytest.raises(NotFound) as missing:
        client.fetch_output(RUN, name, tmp_path)
    assert str(missing.value) == f"run {RUN} {said}"
    assert (missing.value.field, missing.value.allowed) == ("name", ", ".join(outputs) or "none")
    assert list(tmp_path.iterdir()) == []


def test_a_closed_client_says_so(make: Any, stub: Stub, tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(SONG)
    with make(stub.url) as client:
        client.close()
        for ask in (
            lambda: client.status(RUN),
            lambda: client.submit("repaint", {"source": song}),
            lambda: list(client.runs()),
            lambda: list(client.events(RUN)),
            lambda: list(client.all_events()),
            lambda: client.wait(RUN),
            lambda: client.fetch_output(RUN, "audio", tmp_path),
            lambda: client.upload_asset(song),
        ):
            with pytest.raises(InputError, match="^the client is closed; make a new one$"):
                ask()
    assert stub.requests == []


def test_a_printed_run_tells_how_it_stands(make: Any, stub: Stub) -> None:
    stub.answers = [json_answer(run(cancel_requested=True, started_at=CREATED))]
    with make(stub.url) as client:
        record = client.status(RUN)
    assert (record.cancel_requested, record.started_at, record.finished_at) == (True, CREATED, None)
    for shown in (repr(record), str(record)):
        assert "cancel_requested=True" in shown
        assert f"started_at='{CREATED}'" in shown


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "", ".hidden", "a/b"])
def test_a_server_does_not_choose_the_folder(make: Any, stub: Stub, tmp_path: Path, name: str) -> None:
    stub.otherwise = ranged
    stub.answers = [json_answer(run("succeeded", outputs={"audio": OUTPUT | {"file_name": name}}))]
    with make(stub.url) as client:
        assert client.fetch_output(RUN, "audio", tmp_path) == tmp_path / "output-audio"


def test_a_path_among_the_inputs_is_uploaded(make: Any, stub: Stub, tmp_path: Path) -> None:
    song = tmp_path / "my song.wav"
    song.write_bytes(SONG)
    asset = {"id": "asset-7", "kind": "audio", "content_type": "audio/wav", "bytes": len(SONG), "new": True}
    stub.answers = [Answer(201, b"", {"Content-Length": "9"}), json_answer(asset, 201), json_answer(run(), 202)]
    with make(stub.url) as client:
        client.submit("mix", {"tracks": [{"audio": song, "gain": -3.0}], "span": (1, 2)})
        with pytest.raises(InputError, match="No such file"):
            client.upload_asset(tmp_path / "nowhere.wav")
    assert [request.path for request in stub.requests] == ["/v1/assets?file_name=my+song.wav"] * 2 + ["/v1/runs"]
    assert stub.requests[1].body == SONG
    assert stub.requests[2].json()["inputs"] == {"tracks": [{"audio": "asset-7", "gain": -3.0}], "span": [1, 2]}


def test_runs_come_in_pages_and_are_cancelled(make: Any, stub: Stub) -> None:
    stub.answers = [
        json_answer({"runs": [run("queued")], "next": RUN}),
        json_answer(run("cancelled"), 202),
        json_answer({"runs": {}}),
    ]
    with make(stub.url) as client:
        runs, more = client.runs_page(state="queued", limit=1)
        assert ([each.id for each in runs], more) == ([RUN], RUN)
        assert client.cancel(RUN).state == "cancelled"
        assert client.stats() == {"runs": {}}
    assert [(request.method, request.path) for request in stub.requests] == [
        ("GET", "/v1/runs?state=queued&limit=1"),
        ("DELETE", f"/v1/runs/{RUN}"),
        ("GET", "/v1/stats"),
    ]


def page(*ids: str, after: str | None = None) -> Answer:
    return json_answer({"runs": [run() | {"id": id} for id in ids], "next": after})


def test_runs_are_yielded_over_all_pages(make: Any, stub: Stub) -> None:
    stub.answers = [page("run-3", "run-2", after="run-2"), page("run-1")]
    with make(stub.url) as client:
        assert [each.id for each in client.runs(graph="text2music")] == ["run-3", "run-2", "run-1"]
        stub.answers = [page("run-3", "run-2", after="run-2"), page("run-1", after="run-1")]
        assert [each.id for each in client.runs(limit=3, after="run-4")] == ["run-3", "run-2", "run-1"]
        assert list(client.runs(limit=0)) == []
    assert [request.path for request in stub.requests] == [
        "/v1/runs?graph=text2music&limit=200",
        "/v1/runs?graph=text2music&limit=200&after=run-2",
        "/v1/runs?limit=3&after=run-4",
        "/v1/runs?limit=1&after=run-2",
    ]


def test_a_run_without_inputs_says_so(make: Any, stub: Stub) -> None:
    stub.answers = [json_answer({"runs": [run(inputs=None), run(inputs={})], "next": None})]
    with make(stub.url) as client:
        assert [each.inputs for each in client.runs()] == [None, {}]


def test_a_filter_that_is_empty_is_sent_and_not_dropped(make: Any, stub: Stub) -> None:
    stub.otherwise = lambda request: fault("invalid_input", "label: ''", 422, field="label")
    with make(stub.url) as client, pytest.raises(InputError) as refused:
        list(client.runs(label=""))
    assert refused.value.field == "label"
    assert "label=" in stub.requests[0].path


BUSY = [
    fault("rate_limited", "slowly", 429),
    fault("overloaded", "the queue is full", 503),
    fault("unavailable", "the run table is locked", 503),
    Answer(429, b"<html>"),
    Answer(503, b"<html>", {"Retry-After": "1"}),
]


@pytest.mark.parametrize("busy", BUSY, ids=lambda answer: f"{answer.status} {answer.body[:30]!r}")
def test_a_busy_server_is_asked_again_when_it_says(
    make: Any, stub: Stub, tmp_path: Path, busy: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked: one call, a stream, an upload, a download."""
    waits: list[float] = []
    monkeypatch.setattr(RetryBudget, "pause", _noting(waits))
    busy = Answer(busy.status, busy.body, {"Retry-After": "7"})
    song = tmp_path / "song.wav"
    song.write_bytes(SONG)
    asset = json_answer({"id": "asset-7", "kind": "audio", "content_type": "audio/wav", "bytes": 1}, 201)
    with make(stub.url) as client:
        stub.answers = [busy, json_answer(run("queued"), 202)]
        assert client.submit("text2music").id == RUN
        stub.answers = [busy, Answer(200, b"".join(EVENTS))]
        assert len(list(client.events(RUN))) == len(EVENTS)
        stub.answers = [busy, asset]
        assert client.upload_asset(song).id == "asset-7"
        stub.otherwise = ranged
        stub.answers = [ranged(Request("GET", "/", {}, b"")), busy]
        assert client.fetch_output(RUN, "audio", tmp_path / "out.flac").read_bytes() == SONG
    assert waits == [7.0] * 4


def _noting(waits: list[float]) -> Any:
    """The pauses of a budget, noted and not made."""
    pause = RetryBudget.pause

    def noted(budget: RetryBudget, reason: object) -> float:
        waits.append(pause(budget, reason))
        return 0.0

    return noted


@pytest.mark.parametrize("busy", BUSY[:3])
def test_patience_with_a_busy_server_ends(make: Any, stub: Stub, busy: Answer) -> None:
    """With the server's own error: it did answer. What would come too late is not waited for."""
    stub.otherwise = lambda request: Answer(busy.status, busy.body, {"Retry-After": "3600"})
    with make(stub.url) as client, pytest.raises((Overloaded, Unavailable)) as refused:
        client.stats()
    assert getattr(refused.value, "retry_after", None) == 3600
    assert len(stub.requests) == 1
    stub.otherwise = lambda request: Answer(busy.status, busy.body, {"Retry-After": "0"})
    with make(stub.url, patience=0.3) as client, pytest.raises((Overloaded, Unavailable)):
        client.stats()
    assert len(stub.requests) > 2


def test_a_retry_after_may_be_a_date(make: Any, stub: Stub) -> None:
    late = datetime.now(UTC) + timedelta(hours=1)
    stub.otherwise = lambda request: Answer(503, b"", {"Retry-After": format_datetime(late, usegmt=True)})
    with make(stub.url) as client, pytest.raises(Overloaded) as refused:
        client.stats()
    assert 3500 < refused.value.retry_after <= 3600


def test_a_refused_upload_names_the_input(make: Any, stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    stub.otherwise = lambda request: fault("invalid_input", "notes.txt: not audio", 422, field="body")
    with make(stub.url) as client:
        with pytest.raises(InputError) as refused:
            client.submit("mix", {"tracks": [{"audio": tmp_path / "notes.txt"}]})
        assert refused.value.field == "tracks[0].audio"
        for path in (tmp_path / "notes.txt", tmp_path / "missing.wav"):
            with pytest.raises(InputError) as refused:
                client.upload_asset(path)
            assert refused.value.field == str(path)
        stub.otherwise = lambda request: fault("invalid_input", "body: empty (allowed: a file)", 422, field="body")
        with pytest.raises(InputError) as refused:
            client.submit("mix", {"tracks": [{"audio": tmp_path / "notes.txt"}]})
        assert str(refused.value) == f"{tmp_path / 'notes.txt'}: empty (allowed: a file)"
        assert refused.value.field == "tracks[0].audio"


def test_the_ending_of_a_file_is_the_format_that_is_fetched(make: Any, stub: Stub, tmp_path: Path) -> None:
    stub.otherwise = ranged
    with make(stub.url) as client:
        for name in ("a.flac", "song", "a.MP3"):
            client.fetch_output(RUN, "audio", tmp_path / name)
    fetched = [request.path.partition("?")[2] for request in stub.requests if "/outputs/audio" in request.path]
    assert fetched == ["", "", "format=mp3"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"duration": float("nan")}, "duration: nan (allowed: a finite number)"),
        ({"tracks": [{"gain": object()}]}, "tracks[0].gain: a value of type object (allowed: a text, "),
        ({"source": b"RIFF"}, "source: a value of type bytes (allowed: a text, "),
        ({"source": np.zeros((2, 3))}, "source: a value of type ndarray (allowed: a text, "),
    ],
)
def test_an_input_that_cannot_be_sent_is_named(make: Any, stub: Stub, inputs: dict[str, Any], message: str) -> None:
    with make(stub.url) as client, pytest.raises(InputError) as refused:
        client.submit("mix", inputs)
    assert str(refused.value).startswith(message)
    assert stub.requests == []


def test_numbers_of_numpy_are_sent(make: Any, stub: Stub) -> None:
    stub.answers = [json_answer(run(), 202)]
    with make(stub.url) as client:
        client.submit("text2music", {"seed": np.int64(7), "duration": np.float32(2.5), "exact_length": np.True_})
    assert stub.requests[0].json()["inputs"] == {"seed": 7, "duration": 2.5, "exact_length": True}


@pytest.mark.parametrize(("given", "found"), [("", "empty"), (None, "a value of type NoneType"), (5, "of type int")])
def test_a_name_that_is_none_is_refused_before_anything_is_sent(make: Any, stub: Stub, given: Any, found: str) -> None:
    with make(stub.url) as client:
        for field, method, args in (
            ("name", "graph", [given]),
            ("graph", "plan", [given]),
            ("node", "preview", [RUN, given]),
            ("name", "peaks", [RUN, given]),
            ("name", "delete_output", [RUN, given]),
            ("asset", "delete_asset", [given]),
        ):
            with pytest.raises(InputError, match=found) as refused:
                getattr(client, method)(*args)
            assert refused.value.field == field
    assert stub.requests == []


def test_an_empty_id_is_refused_before_anything_is_sent(make: Any, stub: Stub) -> None:
    with make(stub.url) as client, pytest.raises(InputError, match="run: empty .allowed: a Run, or the id of one"):
        client.status("")
    assert stub.requests == []


def test_methods_keep_their_documentation_and_types() -> None:
    for kind in (Client, AsyncClient):
        assert inspect.signature(kind.label).return_annotation == "Run"
        assert list(inspect.signature(kind.submit).parameters)[:3] == ["self", "graph", "inputs"]
        assert all(method.__doc__ for name, method in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_")


def test_the_page_of_the_server_names_every_method() -> None:
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    for name, _ in inspect.getmembers(Client, inspect.isfunction):
        assert name.startswith("_") or f"`{name}(" in page, name


def test_a_preview_is_returned_as_bytes(make: Any, stub: Stub) -> None:
    stub.answers = [Answer(502, b"<html>"), Answer(200, SONG), fault("not_found", "no preview", 404)]
    with make(stub.url) as client:
        assert client.preview(RUN, "takes[0]/take") == SONG
        with pytest.raises(NotFound, match="no preview"):
            client.preview(RUN, "take")
    assert stub.requests[0].path == f"/v1/runs/{RUN}/previews/takes%5B0%5D%2Ftake"


def test_a_run_stands_for_its_id(make: Any, stub: Stub, tmp_path: Path) -> None:
    """What `submit` returns is taken by every method that is about a run."""
    done = run("succeeded", outputs={"audio": OUTPUT})
    song = Answer(200, SONG, {"Content-Length": str(len(SONG))})
    with make(stub.url) as client:
        submitted = client.submit("text2music", {"tags": "x"})
        stub.otherwise = lambda request: json_answer(done)
        assert client.wait(submitted).ended
        assert client.status(submitted).id == client.label(submitted, title="Night bus").id == RUN
        stub.answers = [json_answer(done), song]
        assert client.fetch_output(submitted, "audio", str(tmp_path / "song.flac")).read_bytes() == SONG
        stub.answers = [Answer(200, b"".join(EVENTS)), Answer(200, SONG), Answer(204), Answer(200, SONG)]
        assert len(list(client.events(submitted))) == len(EVENTS)
        client.preview(submitted, "take")
        client.forget(submitted)
        client.output_in(submitted, "audio", "mp3")
        for wrong in (None, 7, {"id": RUN}):
            with pytest.raises(InputError, match=f"run: a value of type {type(wrong).__name__} .allowed: a Run, or"):
                client.wait(wrong)
    assert {request.path.partition("?")[0].split("/")[3] for request in stub.requests[1:]} == {RUN}


@pytest.mark.parametrize("server", ["", "127.0.0.1:8777", "ftp://x", "http://", "http://[::1"])
def test_an_invalid_server_or_key_is_refused(server: str) -> None:
    with pytest.raises(InputError, match="not the address"):
        Client(server)
    with pytest.raises(InputError, match="not an API key"):
        Client(key="line\nbreak")


def test_inputs_that_are_given_as_options_are_told_how(make: Any, stub: Stub) -> None:
    with make(stub.url) as client, pytest.raises(TypeError) as refused:
        client.submit("text2music", tags="lofi", duration=10)
    assert str(refused.value).startswith(
        "submit has no option 'tags', 'duration'; inputs of the graph are given as "
        "inputs={'tags': ..., 'duration': ...} (options: priority, deadline, "
    )
    assert stub.requests == []


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/", ""])
def test_the_address_of_the_interface_is_that_of_the_server(make: Any, stub: Stub, path: str) -> None:
    with make(stub.url + path) as client:
        client.status(RUN)
    assert stub.requests[0].path == f"/v1/runs/{RUN}"


@pytest.mark.parametrize("patience", [-1, "x", float("nan"), True, None])
def test_patience_is_a_number_of_seconds(make: Any, patience: Any) -> None:
    with pytest.raises(InputError, match=r"^patience: .* \(allowed: seconds, 0 or more\)$"):
        make("http://127.0.0.1:1", patience=patience)


@pytest.mark.parametrize("timeout", ["x", -1, float("nan"), True])
def test_a_timeout_is_a_number_of_seconds(make: Any, stub: Stub, timeout: Any) -> None:
    with make(stub.url) as client, pytest.raises(InputError, match=r"^timeout: .*seconds, 0 or more, or None"):
        client.wait(RUN, timeout)
    assert stub.requests == []
