"""Both clients in the hands of an operator, against a real server: every route for operators, and who may not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from acestep_flows.api.http.keys import Keyring, new_key
from acestep_flows.cli.main import cli
from acestep_flows.client import AuditedAction, Client, KeyAccount, KeyUsage, operator_calls
from acestep_flows.errors import Forbidden, InputError, NotFound
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.conftest import strict  # noqa: F401 - a fixture
from tests.api.door import LONG, SHORT, Door, opened, sound
from tests.client.test_client import Waiting

NAME = "node-3-812-1f9a3c0b"
METHODS: dict[str, tuple[str, ...]] = {
    "queue": (),
    "pause_queue": (),
    "resume_queue": (),
    "drain_server": (NAME,),
    "undrain_server": (NAME,),
    "audit_page": (),
    "api_keys": (),
}
"""Every method that is one request of an operator, with arguments."""


class Operated(NamedTuple):
    """A server with two keys: that of an administrator, and one with quotas."""

    door: Door
    ops: str
    alice: str


@pytest.fixture(scope="module")
def operated(strict: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:  # noqa: F811
    (ops, admin), (alice, limited) = new_key("ops"), new_key("alice")
    limits = {"runs": 20, "compute_seconds_per_day": 1000, "stored_bytes": 10_000_000}
    ring = Keyring([admin.model_copy(update={"admin": True}), limited.model_copy(update=limits)])
    root = tmp_path_factory.mktemp("operated")
    with opened(root, strict, keys=ring, headers={"X-API-Key": alice}) as door:
        yield Operated(door, ops, alice)


@pytest.fixture(params=[Client, Waiting])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_a_paused_queue_keeps_what_waits(make: Any, operated: Operated) -> None:
    door = operated.door
    with make(door.url, operated.ops) as client:
        assert client.queue().paused is None
        paused = client.pause_queue("new weights")
        assert paused.paused is not None
        assert (paused.paused.who, paused.paused.reason) == ("ops", "new weights")
        assert datetime.fromisoformat(paused.paused.since).tzinfo is not None
        waiting = door.submit(inputs=dict(SHORT, seed=len(client.audit_page(limit=200)[0])))["id"]
        shown = client.queue()
        assert (shown.queued, shown.running, shown.paused) == (1, 0, paused.paused)
        assert shown.content["queued"] == 1
        assert door.client.get(f"/v1/runs/{waiting}").json()["state"] == "queued"
        assert client.pause_queue("another").paused == paused.paused, "the first pause counts"
        assert client.resume_queue().paused is None
        assert client.resume_queue().paused is None
        assert door.until(waiting)["state"] == "succeeded"


def test_a_server_drains_and_works_again(make: Any, operated: Operated) -> None:
    door = operated.door
    with make(door.url, operated.ops) as client:
        door.until(running := door.submit(inputs=LONG)["id"], "running")
        (server,) = client.queue().servers
        assert (server.this, server.drains, server.runs) == (False, None, 1)  # the door's service has no name
        (drained,) = client.drain_server(server, "kernel update").servers
        assert drained.drains is not None
        assert (drained.drains.who, drained.drains.reason) == ("ops", "kernel update")
        waiting = door.submit()["id"]
        door.client.delete(f"/v1/runs/{running}")
        door.until(running)
        shown = client.queue()
        assert (shown.queued, shown.servers[0].runs) == (1, 0), "a free server that drains leaves what waits"
        with pytest.raises(NotFound) as caught:
            client.drain_server("nobody")
        assert caught.value.allowed == server.name
        assert client.undrain_server(server.name).servers[0].drains is None
        assert door.until(waiting)["state"] == "succeeded"


def test_the_audit_log_comes_in_pages(make: Any, operated: Operated) -> None:
    door = operated.door
    with make(door.url, operated.ops) as client:
        for at in range(3):
            client.pause_queue(f"why {at}")
            client.resume_queue()
        page, before = client.audit_page(action="queue", limit=4)
        assert [entry.action for entry in page] == ["queue.resumed", "queue.paused"] * 2
        assert [entry.details for entry in page] == [{}, {"reason": "why 2"}, {}, {"reason": "why 1"}]
        assert before == page[-1].number
        rest, _ = client.audit_page(action="queue", limit=2, before=before)
        assert [entry.number < page[-1].number for entry in rest] == [True, True]
        everything = list(client.audit())
        assert len(everything) == len({entry.number for entry in everything}) > 6
        assert everything == sorted(everything, key=lambda entry: -entry.number)
        assert list(client.audit(limit=5)) == everything[:5]
        run = door.finished(inputs=dict(SHORT, seed=everything[0].number))
        (entry,) = client.audit(who="alice", action="run.submitted", limit=1)
        assert isinstance(entry, AuditedAction)
        assert (entry.object, entry.details["graph"]) == (run["id"], "text2music")
        today = datetime.now(UTC).date()
        assert next(iter(client.audit(since=today, limit=1))) == entry
        assert list(client.audit(until=today - timedelta(days=2))) == []
        assert list(client.audit(who="")) == []


def test_each_key_has_its_limits_and_its_use(make: Any, operated: Operated) -> None:
    door = operated.door
    door.finished(inputs=dict(SHORT, seed=71))
    assert door.upload(sound(0.1)).status_code == 201
    me = door.client.get("/v1/me").json()
    with make(door.url, operated.ops) as client:
        alice, ops = client.api_keys()
        assert isinstance(alice, KeyAccount)
        for name, value in me.items():
            assert alice.content[name] == value, "as the caller is told itself"
        assert (alice.name, alice.known, alice.admin) == ("alice", True, False)
        assert (alice.runs, alice.compute_seconds_per_day, alice.stored_bytes) == (20, 1000, 10_000_000)
        assert alice.usage.runs >= 1
        assert alice.compute_seconds_today > 0
        assert alice.stored_bytes_now > 0
        assert (ops.name, ops.admin, ops.runs, ops.stored_bytes_now, ops.usage) == ("ops", True, None, 0, KeyUsage())
        tomorrow = datetime.now(UTC).date() + timedelta(days=1)
        assert [key.usage.runs for key in client.api_keys(since=tomorrow)] == [0, 0]
        door.until(running := door.submit(inputs=LONG)["id"], "running")
        assert client.api_keys()[0].active_runs == 1
        door.client.delete(f"/v1/runs/{running}")
        door.until(running)
        assert operated.ops not in str(client.api_keys())


def test_the_command_lists_the_keys(operated: Operated, monkeypatch: pytest.MonkeyPatch) -> None:
    operated.door.finished(inputs=dict(SHORT, seed=72))
    monkeypatch.setenv("ACESTEP_FLOWS_API_KEY", operated.ops)
    command = ["keys", "--server", operated.door.url]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    alice, ops = done.stdout.splitlines()
    assert re.match(r"alice: 0 of 20 runs in hand; [\d.]+ of 1000 s of computation today; \d+ of 10000000 bytes", alice)
    assert ops.startswith(
        "ops (administrator): 0 runs in hand; 0.0 s of computation today; 0 bytes of files; 0 runs ended"
    )
    listed = json.loads(CliRunner().invoke(cli, [*command, "--since", "2100-01-01", "--json"]).stdout)
    assert [(key["name"], key["usage"]["runs"]) for key in listed] == [("alice", 0), ("ops", 0)]
    monkeypatch.setenv("ACESTEP_FLOWS_API_KEY", operated.alice)
    refused = CliRunner().invoke(cli, command)
    assert refused.exit_code == 1
    assert "this is for the key of an administrator" in refused.stderr


def test_use_without_a_key_the_server_has_is_listed(make: Any, strict: Checkpoint, tmp_path: Path) -> None:  # noqa: F811
    with opened(tmp_path, strict) as door:
        door.finished()
        with make(door.url) as client:
            (nobody,) = client.api_keys()
        assert (nobody.name, nobody.known, nobody.usage.runs) == (None, False, 1)
    ops, admin = new_key("ops")
    with opened(tmp_path, strict, keys=Keyring([admin])) as door, make(door.url, ops) as client:
        assert [(key.name, key.known, key.usage.runs) for key in client.api_keys()] == [
            (None, False, 1),
            ("ops", True, 0),
        ]


def test_other_callers_may_not(make: Any, operated: Operated) -> None:
    with make(operated.door.url, operated.alice) as client:
        for name, arguments in METHODS.items():
            with pytest.raises(Forbidden, match="administrator"):
                getattr(client, name)(*arguments)
    with make(operated.door.url, operated.ops) as client:
        with pytest.raises(InputError, match="reason"):
            client.pause_queue("x" * 501)
        with pytest.raises(InputError, match="server"):
            client.drain_server("")
        assert client.queue().paused is None


def test_every_route_for_operators_has_a_method(operated: Operated) -> None:
    """The routes are those of OpenAPI; what the methods ask for is compared with them."""
    document = operated.door.client.get("/openapi.json").json()
    routes = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if operation["tags"] == ["operation"]
    }
    calls = [getattr(operator_calls, name)(*arguments) for name, arguments in METHODS.items()]
    assert routes == {(call.method, call.path.replace(NAME, "{name}")) for call in calls}
