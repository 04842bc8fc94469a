"""Both clients: what belongs to a caller, against a server that loses connections, and against a real one."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.audio import tags
from acestep_flows.client import AsyncClient, Client, NumberedRunEvent
from acestep_flows.errors import Conflict, InputError, NotFound
from tests.api.conftest import door, strict  # noqa: F401 - fixtures
from tests.api.door import LONG, Door, sound
from tests.client.stub import RUN, Answer, Stub, fault, json_answer, run, serving
from tests.client.test_client import Waiting


@pytest.fixture(params=[Client, Waiting])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(Stub(lambda request: json_answer(run()))) as stub:
        yield stub


def numbered(number: int, type: str, **body: Any) -> bytes:
    data = {"number": number, "type": type, "time": 1.0} | body
    return f"id: {number}\nevent: {type}\ndata: {json.dumps(data)}\n\n".encode()


STREAM = [numbered(7, "ready"), numbered(9, "accepted", run=RUN, seq=1), numbered(12, "started", run=RUN, seq=2)]


def first_events(make: Any, url: str, count: int, **options: Any) -> list[NumberedRunEvent]:
    """The first events of the stream of all runs, which has no end."""
    if make is Client:
        with Client(url) as client:
            return list(itertools.islice(client.all_events(**options), count))

    async def read() -> list[NumberedRunEvent]:
        events: list[NumberedRunEvent] = []
        async with AsyncClient(url) as client:
            async for event in client.all_events(**options):
                events.append(event)
                if len(events) == count:
                    break
        return events

    return asyncio.run(read())


@pytest.mark.parametrize("cut", range(0, sum(map(len, STREAM)), 41))
def test_the_stream_of_all_runs_resumes_after_a_lost_connection(make: Any, stub: Stub, cut: int) -> None:
    """Also one that has seen nothing but `ready` misses nothing."""

    def later(request: Any) -> Answer:
        query = request.path.partition("after=")[2]
        after = int(query) if query else 7
        rest = [event for number, event in zip((9, 12), STREAM[1:], strict=True) if number > after]
        return Answer(200, b"".join([numbered(after, "ready"), *rest]))

    stub.otherwise = later
    stub.answers = [Answer(200, b"".join(STREAM), {}, cut)]
    events = first_events(make, stub.url, 3)
    assert [(event.number, event.run, event.event.type, event.event.seq) for event in events] == [
        (7, "", "ready", 0), (9, RUN, "accepted", 1), (12, RUN, "started", 2)
    ]  # fmt: skip


def test_a_deletion_is_repeated_after_a_lost_connection(make: Any, stub: Stub) -> None:
    gone = fault("not_found", "no run", 404)
    with make(stub.url) as client:
        deletions: list[Callable[[], None]] = [
            lambda: client.forget(RUN),
            lambda: client.delete_output(RUN, "audio"),
            lambda: client.delete_asset("asset-1"),
        ]
        for delete in deletions:
            stub.answers = [Answer(502, b"<html>"), gone]
            delete()
            stub.answers = [gone]
            with pytest.raises(NotFound):
                delete()
    assert {request.method for request in stub.requests} == {"DELETE"}


def test_lists_are_filtered(make: Any, stub: Stub) -> None:
    stub.otherwise = lambda request: json_answer({"runs": [run(inputs=None)], "next": None})
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    with make(stub.url) as client:
        ((listed,), _) = client.runs_page(label=["star", "session:a b"], created_after=moment, inputs=True)
        client.runs_page()
    assert listed.inputs is None
    query = stub.requests[0].path
    for part in ("label=star", "label=session%3Aa", "created_after=2026-03-01T12%3A00%3A00%2B00%3A00", "inputs=true"):
        assert part in query, query
    assert stub.requests[1].path == "/v1/runs?limit=50"


def test_a_callers_library(make: Any, door: Door, tmp_path: Path) -> None:  # noqa: F811
    with make(door.url) as client:
        made = client.submit(
            "text2music", {"tags": "piano", "duration": 1, "steps": 2, "seed": 8}, labels={"star": "1"}
        )
        song = client.wait(made.id, 60)
        assert client.label(song.id, title="Night bus", star=None).labels == {"title": "Night bus"}
        (found,) = client.runs(label="title:Night bus", inputs=True)
        assert (found.id, found.inputs["seed"], found.labels) == (song.id, 8, {"title": "Night bus"})
        before = datetime.now(UTC) - timedelta(days=1)
        assert list(client.runs(label="title:Night bus", created_before=before)) == []
        with pytest.raises(InputError, match="label"):
            list(client.runs(label=""))
        mp3 = client.output_in(song.id, "audio", "mp3")
        assert tags.read(mp3).recipe["inputs"]["seed"] == 8
        assert client.peaks(song.id, "audio", per_second=10)["per_second"] == 10
        assert client.link(song.id, "audio", seconds=60).startswith(f"{door.url}/v1/links/")
        (tmp_path / "take.wav").write_bytes(sound(0.1))
        asset = client.upload_asset(tmp_path / "take.wav")
        assert client.assets_page(limit=1)[0] == list(client.assets(limit=1)) == [asset]
        client.delete_asset(asset)
        with pytest.raises(NotFound):
            client.delete_asset(asset)
        client.delete_output(song.id, "latents")
        client.forget(song.id)
        with pytest.raises(NotFound):
            client.status(song.id)


def test_a_run_in_hand_is_not_forgotten(make: Any, door: Door) -> None:  # noqa: F811
    with make(door.url) as client:
        made = client.submit("text2music", LONG)
        with pytest.raises(Conflict, match="cancel it"):
            client.forget(made.id)
        client.cancel(made.id)
        client.wait(made.id, 60)
        client.forget(made.id)
        with pytest.raises(InputError, match="labels"):
            client.submit("text2music", {"tags": "x"}, labels={"No": "name"})


def test_account_and_catalog(make: Any, door: Door) -> None:  # noqa: F811
    door.finished()
    with make(door.url) as client:
        assert client.me()["name"] is None
        assert client.usage()[0]["runs"] >= 1
        assert client.usage(since=datetime.now(UTC).date() + timedelta(days=1)) == []
        assert client.model()["notes"] == client.adapters() == client.controls() == []
        assert {"name", "tags"} <= client.presets()[0].keys()
        assert client.examples()[0]["graph"] == "text2music"
