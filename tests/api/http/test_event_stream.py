"""Server-sent events: complete, in order, once each, also after a lost connection."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from acestep_flows.api.http.errors import Redactor
from acestep_flows.api.http.event_stream import encode_event, resume_point
from acestep_flows.api.http.keys import Key, Keyring, digest_of
from acestep_flows.api.options import ApiOptions
from acestep_flows.api.store.records import StoredEvent
from acestep_flows.errors import InputError
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import LONG, SHORT, Door, opened


def event_data(response: httpx2.Response) -> Iterator[dict[str, Any]]:
    """The data of the events of a stream, parsed as a browser does."""
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
            continue
        if "data" in fields:
            event = json.loads(fields["data"])
            assert (fields["id"], fields["event"]) == (str(event["seq"]), event["type"])
            yield event
        fields = {}


def test_a_run_is_followed_to_its_end(door: Door) -> None:
    run = door.submit(inputs=dict(SHORT) | {"seed": 1001, "steps": 4})
    with door.client.stream("GET", run["links"]["events"]) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        events = list(event_data(response))
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["type"] == "accepted"
    assert events[-1]["type"] == "succeeded"
    ends = [event["node"] for event in events if event["type"] in ("finished", "cached")]
    assert sorted(ends) == ["mel", "noise", "prompt", "song", "take", "words"]
    shares = [event["progress"] for event in events if "progress" in event]
    assert shares == sorted(shares)


def test_a_client_resumes_after_a_lost_connection(door: Door) -> None:
    run = door.submit(inputs=dict(SHORT) | {"seed": 1002, "steps": 30})
    url = run["links"]["events"]
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1]["type"] != "succeeded":
        headers = {"Last-Event-ID": str(seen[-1]["seq"])} if seen else {}
        with door.client.stream("GET", url, headers=headers) as response:
            assert response.status_code == 200
            for event in event_data(response):
                seen.append(event)
                if len(seen) % 3 == 0:
                    break  # the connection drops in the middle
    assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))
    after = door.client.get(url, params={"after": seen[-2]["seq"]})
    assert [event["type"] for event in event_data(after)] == ["succeeded"]
    assert door.client.get(url, headers={"Last-Event-ID": str(seen[-1]["seq"])}).status_code == 204


def test_events_have_their_time_in_both_forms(door: Door) -> None:
    run = door.finished()
    events = list(event_data(door.client.get(run["links"]["events"])))
    assert len(events) > 5
    for event in events:
        at = datetime.fromisoformat(event["at"])
        assert at.utcoffset() == timedelta(0)
        assert at.timestamp() == pytest.approx(event["time"], abs=1e-5)
    assert events[0]["at"][:19] == run["created_at"][:19]


def test_an_ended_run_has_no_estimate(door: Door) -> None:
    run = door.finished()
    assert door.client.get(run["links"]["self"]).json()["estimate"] is None


def test_a_cancelled_run_ends_its_stream(door: Door) -> None:
    run = door.submit(inputs=LONG)
    with door.client.stream("GET", run["links"]["events"]) as response:
        for event in event_data(response):
            if event["type"] == "progress":
                door.client.delete(run["links"]["self"])
            last = event
    assert last["type"] == "cancelled"
    assert last["error"]["code"] == "cancelled"


def test_a_client_that_saw_more_than_there_is_hears_the_end_all_the_same(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict, executing=False) as door:
        run = door.submit()
        with door.client.stream("GET", run["links"]["events"], headers={"Last-Event-ID": "1000"}) as response:
            lines = response.iter_lines()
            assert next(lines).startswith("retry")
            door.client.delete(run["links"]["self"])
            assert not [line for line in lines if line.startswith("data")]
        ended = door.client.get(run["links"]["events"], headers={"Last-Event-ID": "1000"})
        assert ended.status_code == 204


@pytest.mark.parametrize("id", ["-1", "x", "1e5", "9" * 19, "1;2"])
def test_an_invalid_event_id_is_refused(door: Door, id: str) -> None:
    url = door.submit()["links"]["events"]
    assert door.client.get(url, headers={"Last-Event-ID": id}).status_code == 422
    with pytest.raises(InputError):
        resume_point(id, 0)


def test_streams_are_counted_and_bounded(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict, options=ApiOptions(streams=1), executing=False) as door:
        url = door.submit()["links"]["events"]
        with door.client.stream("GET", url) as response:
            events = event_data(response)
            assert next(events)["type"] == "accepted"
            assert door.client.get("/v1/stats").json()["streams"] == 1
            other = door.client.get(url)
            assert (other.status_code, other.headers["retry-after"]) == (503, "5")
            render = door.client.post("/v1/graphs/text2music:render", json={"inputs": dict(SHORT)})
            assert render.status_code == 503
        assert door.client.get("/v1/stats").json()["runs"]["queued"] == 1, "a refused render leaves no run"
        while door.client.get("/v1/stats").json()["streams"]:
            pass  # the server notices that the client disconnected
        with door.client.stream("GET", url) as response:
            assert response.status_code == 200


def test_one_key_does_not_take_every_place(strict: Checkpoint, tmp_path: Path) -> None:
    keys = Keyring([Key(name=name, sha256=digest_of(f"{name}-{'x' * 20}")) for name in ("greedy", "other")])
    options = ApiOptions(streams=3, streams_each=2)
    with opened(tmp_path, strict, options=options, keys=keys, executing=False) as door, contextlib.ExitStack() as open_:
        held: list[Iterator[bytes]] = []

        def ask(name: str) -> int:
            door.client.headers["Authorization"] = f"Bearer {name}-{'x' * 20}"
            url = door.submit()["links"]["events"]
            response = open_.enter_context(door.client.stream("GET", url))
            if response.status_code == 200:
                held.append(response.iter_raw())
                next(held[-1])  # the stream is counted now
            return response.status_code

        assert [ask("greedy") for _ in range(3)] == [200, 200, 429]
        assert [ask("other") for _ in range(2)] == [200, 503]
        render = door.client.post("/v1/graphs/text2music:render", json={"inputs": dict(SHORT)})
        assert render.status_code == 503


def test_an_event_is_one_block_whatever_its_text() -> None:
    event = StoredEvent(7, "failed", 1.0, {"node": "a", "error": {"message": "two\nlines\n\nid: 9 in /srv/home/x"}})
    block = encode_event(event, Redactor(["/srv/home"]))
    assert block.startswith(b"id: 7\nevent: failed\ndata: {")
    assert block.count(b"\n") == 4
    assert b"/srv/home" not in block
