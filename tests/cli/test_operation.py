"""The commands `queue` and `audit`, over a store without a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from acestep_flows.api.store.home import Home
from acestep_flows.cli.main import cli
from tests.api.store.clock import new
from tests.api.toys import opened


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with opened(tmp_path / "home") as home:
        yield home


def call(home: Home, *args: object) -> Result:
    return CliRunner().invoke(cli, [*map(str, args), "--home", str(home.root)])


def test_pause_and_resume(home: Home) -> None:
    home.runs.accept(new())
    assert call(home, "queue", "show").output == ("runs that wait: 1, that are computed: 0\nno server works now\n")
    paused = call(home, "queue", "pause", "--reason", "new weights")
    assert "by command line" in paused.output
    assert paused.output.endswith("(new weights)\n")
    assert home.leases.claim("any") is None
    assert "the queue is paused since 20" in call(home, "queue", "show").output
    content = json.loads(call(home, "queue", "show", "--json").output)
    assert (content["queued"], content["paused"]["reason"]) == (1, "new weights")
    assert call(home, "queue", "resume").output == "runs are started again\n"
    assert call(home, "queue", "resume").output == "the queue was not paused\n"


def test_drain_by_name_and_by_host(home: Home) -> None:
    for name in ("node-1-77-aa", "node-1-78-bb", "node-12-9-cc"):
        home.leases.renew(name, 2, [])
    assert call(home, "queue", "drain", "node-12-9-cc").output == "node-12-9-cc drains\n"
    done = call(home, "queue", "drain", "node-1", "--wait", "5")
    assert done.output == "node-1-77-aa drains\nnode-1-78-bb drains\nno runs are left there; it can be stopped\n"
    assert call(home, "queue", "show").output.count("0 of 2 runs, drains since") == 3
    assert call(home, "queue", "undrain", "node-1-77-aa").output == "node-1-77-aa works again\n"
    wrong = call(home, "queue", "drain", "node-3")
    assert wrong.exit_code == 2
    assert wrong.stderr == ("error: SERVER: no server 'node-3' (allowed: node-1-77-aa, node-1-78-bb, node-12-9-cc)\n")


def test_a_server_that_is_not_done_in_time(home: Home) -> None:
    home.leases.renew("node-1-77-aa", 2, [])
    home.runs.accept(new())
    assert home.leases.claim("node-1-77-aa") is not None
    late = call(home, "queue", "drain", "node-1", "--wait", "0")
    assert (late.exit_code, late.stderr) == (7, "error: 1 run is still computed after 0 s\n")


def test_who_did_what(home: Home) -> None:
    assert call(home, "audit").output == "nothing\n"
    run = home.runs.accept(new(owner="alice"))[0].id
    home.runs.cancel(run)
    CliRunner().invoke(cli, ["adopt", "bob", "--home", str(home.root)])
    adopted, cancelled, submitted = call(home, "audit").output.splitlines()
    assert submitted.endswith(f"Z alice run.submitted {run} graph=song")
    assert cancelled.endswith(f"Z alice run.cancelled {run}")
    assert "command line" in adopted
    assert adopted.endswith(" runs.adopted bob runs=0 uploads=0")
    assert call(home, "audit", "--action", "run", "--limit", "1").output.splitlines() == [cancelled]
    assert call(home, "audit", "--until", "2020-01-01").output == "nothing\n"
    first = json.loads(call(home, "audit", "--who", "alice", "--json").output.splitlines()[-1])
    assert (first["action"], first["details"]) == ("run.submitted", {"graph": "song"})
    wrong = call(home, "audit", "--action", "runs.submitted")
    assert wrong.exit_code == 2
    assert "allowed: file, key, link, queue, run" in wrong.stderr


def test_many_entries_are_read_page_by_page(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acestep_flows.cli.operation.AUDIT_PAGE", 3)
    for at in range(8):
        home.audit.add("alice", "link.made", f"asset-{at}")
    objects = [json.loads(line)["object"] for line in call(home, "audit", "--limit", "7", "--json").output.splitlines()]
    assert objects == [f"asset-{at}" for at in range(7, 0, -1)]


def test_the_audit_log_is_listed_from_a_time(home: Home) -> None:
    call(home, "queue", "pause")
    lines = call(home, "audit").output
    assert "queue.paused" in lines
    for since in ("2026-01-01", "2026-01-01T12:00:00Z", "2026-01-01T12:00:00+02:00"):
        assert call(home, "audit", "--since", since).output == lines
    assert call(home, "audit", "--since", "2100-01-01T00:30:00").output == "nothing\n"
    assert call(home, "audit", "--until", "2026-01-01T12:00:00").output == "nothing\n"
    wrong = call(home, "audit", "--since", "yesterday")
    assert wrong.exit_code == 2
    assert "'yesterday' (allowed: a day or a time in ISO 8601, such as 2026-03-01 or 2026-03-01T12:00:00Z)" in (
        wrong.stderr
    )
