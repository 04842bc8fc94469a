"""The run table: acceptance, limits, idempotency, listing, cancellation, queue estimates, webhooks."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.api.store.assets import Assets
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.leases import Leases
from acestep_flows.api.store.records import QueueLimits, RunState
from acestep_flows.api.store.runs import RunTable
from acestep_flows.errors import Conflict, InputError, NotFound, Overloaded
from tests.api.store.clock import Clock, new


def test_an_accepted_run_is_there_for_everybody(table: RunTable, url: str, clock: Clock) -> None:
    text = "a\x00b \ud800 \U0001f3b5"
    run, fresh = table.accept(new(inputs={"tags": text}, deadline=60, warnings=["odd"], webhook={"url": "u"}))
    assert fresh
    other = Database(url)
    assert RunTable(other).get(run.id) == run
    other.close()
    assert run.inputs == {"tags": text}
    assert (run.state, run.attempt, run.warnings, run.webhook) == (RunState.QUEUED, 0, ("odd",), {"url": "u"})
    assert run.deadline_at == pytest.approx(run.created_at + 60)
    (event,) = table.events(run.id)
    assert (event.seq, event.type) == (1, "accepted")
    assert table.nodes(run.id) == ()


def test_a_key_accepts_one_request_once(table: RunTable) -> None:
    first, fresh = table.accept(new(idempotency_key="k", request_digest="a"))
    again, fresh_again = table.accept(new(idempotency_key="k", request_digest="a"), QueueLimits(queued=1))
    assert (fresh, fresh_again, again.id) == (True, False, first.id)
    with pytest.raises(Conflict, match=first.id):
        table.accept(new(idempotency_key="k", request_digest="b"))
    other, fresh = table.accept(new(idempotency_key="k", request_digest="b", owner="someone else"))
    assert fresh
    assert other.id != first.id
    assert table.counts()[RunState.QUEUED] == 2


def test_a_key_accepts_one_request_once_among_many_at_a_time(table: RunTable) -> None:
    with ThreadPoolExecutor(12) as threads:
        request = new(idempotency_key="k", request_digest="a")
        accepted = list(threads.map(lambda _: table.accept(request), range(12)))
    assert len({run.id for run, _ in accepted}) == 1
    assert [is_new for _, is_new in accepted].count(True) == 1
    (run,) = table.list().runs
    assert [(event.seq, event.type) for event in table.events(run.id)] == [(1, "accepted")]


@pytest.mark.parametrize(
    "fields", [{"idempotency_key": ""}, {"idempotency_key": "\ud800"}, {"idempotency_key": "k" * 256},
               {"priority": 1001}, {"deadline": 0}, {"deadline": float("nan")}],
)  # fmt: skip
def test_fields_out_of_range_are_refused(table: RunTable, fields: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        table.accept(new(**fields))
    assert table.counts()[RunState.QUEUED] == 0


def test_the_limit_of_the_queue_is_hard(table: RunTable) -> None:
    """Forty concurrent submissions to a queue of seven."""
    accepted: list[str] = []
    refused: list[Overloaded] = []

    def submit() -> None:
        for _ in range(5):
            try:
                accepted.append(table.accept(new(), QueueLimits(queued=7))[0].id)
            except Overloaded as error:
                refused.append(error)

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(accepted), len(refused)) == (7, 33)
    assert table.counts()[RunState.QUEUED] == 7
    assert all(1 <= error.retry_after <= 60 for error in refused)


def test_an_owner_has_a_limit_of_its_own(table: RunTable, leases: Leases) -> None:
    limits = QueueLimits(owned=2)
    table.accept(new(owner="a"), limits)
    table.accept(new(owner="a"), limits)
    assert leases.claim("e") is not None  # running runs count too
    with pytest.raises(Overloaded, match="2 runs of this key"):
        table.accept(new(owner="a"), limits)
    table.accept(new(owner="b"), limits)
    assert [len(table.list(owner=owner).runs) for owner in "ab"] == [2, 1]


def test_assets_in_the_inputs_must_be_there(database: Database, table: RunTable, tmp_path: Path) -> None:
    assets = Assets(database, Artifacts(database, tmp_path / "files"))
    blob = Artifacts(database, tmp_path / "files").put(b"x")
    mine = assets.add(blob, "audio", content_type="audio/wav", file_name="a.wav", owner="a").id
    table.accept(new(assets=[mine, mine], owner="a"))
    for owner, asset in (("b", mine), ("a", "asset-0")):
        with pytest.raises(NotFound, match=asset):
            table.accept(new(assets=[asset], owner=owner))


def test_runs_of_others_do_not_exist(table: RunTable) -> None:
    run, _ = table.accept(new(owner="a"))
    assert table.get(run.id, "a") == table.get(run.id) == run
    for method in (table.get, table.cancel):
        with pytest.raises(NotFound):
            method(run.id, "b")
    for id in ("", "nothing", "run-" + "0" * 26, "\ud800"):
        with pytest.raises(NotFound):
            table.get(id)


def test_listing_returns_pages(table: RunTable, leases: Leases) -> None:
    runs = [table.accept(new(graph="ab"[i % 2], owner="xy"[i % 3 == 0]))[0].id for i in range(7)]
    seen: list[str] = []
    after = None
    while True:
        page = table.list(limit=3, after=after)
        seen += [run.id for run in page.runs]
        table.accept(new(graph="new"))  # new runs do not shift the pages
        if (after := page.next) is None:
            break
    assert seen == runs[::-1]
    assert [run.id for run in table.list(graph="b").runs] == runs[5::-2]
    assert [run.id for run in table.list(owner="y").runs] == runs[6::-3]
    claimed = leases.claim("e")
    assert claimed is not None
    assert [run.id for run in table.list(state=RunState.RUNNING).runs] == [claimed.lease.run]
    for bad in ({"after": "x"}, {"limit": 0}, {"limit": 1000}):
        with pytest.raises(InputError):
            table.list(**bad)


def test_cancelling_a_run_without_an_executor_ends_it_at_once(table: RunTable, leases: Leases, clock: Clock) -> None:
    queued, _ = table.accept(new())
    assert table.cancel(queued.id).state is RunState.CANCELLED
    assert table.cancel(queued.id).state is RunState.CANCELLED
    assert [event.type for event in table.events(queued.id)] == ["accepted", "cancelled"]

    table.accept(new())
    claimed = leases.claim("e")
    assert claimed is not None
    id = claimed.lease.run
    run = table.cancel(id)
    assert (run.state, run.cancel_requested) == (RunState.RUNNING, True)
    assert leases.cancel_requests("e") == {id}
    clock.now += 21
    assert table.cancel(id).state is RunState.CANCELLED
    assert not leases.finish(claimed.lease, RunState.SUCCEEDED)


def test_the_queue_estimate_uses_earlier_durations(table: RunTable, leases: Leases, clock: Clock) -> None:
    past, _ = table.accept(new())
    assert table.queue_estimate(past.id).seconds is None
    claimed = leases.claim("e")
    assert claimed is not None
    clock.now += 8
    assert leases.finish(claimed.lease, RunState.SUCCEEDED)
    assert table.queue_estimate(past.id).seconds is None, "it has ended"

    leases.renew("e", 2, [])
    first, second = table.accept(new())[0], table.accept(new(expected_seconds=3))[0]
    urgent = table.accept(new(graph="never ran", priority=1))[0]
    estimates = {run.id: table.queue_estimate(run.id) for run in (first, second, urgent)}
    assert [estimates[run.id].position for run in (urgent, first, second)] == [0, 1, 2]
    assert [estimates[run.id].seconds for run in (urgent, first, second)] == pytest.approx([8, 4 + 8, 8 + 3], abs=0.01)
    working = leases.claim("e")
    assert working is not None
    estimate = table.queue_estimate(working.lease.run)
    assert estimate.position is None
    assert estimate.seconds == pytest.approx(8, abs=0.01)
    with pytest.raises(NotFound):
        table.queue_estimate("run-0")


def test_webhooks_are_due_when_a_run_ends(table: RunTable, leases: Leases, clock: Clock) -> None:
    run, _ = table.accept(new(webhook={"url": "u"}))
    table.cancel(table.accept(new())[0].id)
    assert table.take_webhooks() == ()
    table.cancel(run.id)
    (ended,) = table.take_webhooks(hold=60)
    assert (ended.id, ended.state, ended.webhook) == (run.id, RunState.CANCELLED, {"url": "u"})
    assert table.take_webhooks() == ()
    clock.now += 61  # the sender died
    assert len(table.take_webhooks()) == 1
    assert table.webhook_failed(run.id, clock.now + 5) == 1
    assert table.take_webhooks() == ()
    clock.now += 6
    assert len(table.take_webhooks()) == 1
    table.webhook_sent(run.id)
    clock.now += 1000
    assert table.take_webhooks() == ()


def test_webhooks_are_due_at_the_start_of_a_run_if_they_ask_for_it(
    table: RunTable, leases: Leases, clock: Clock
) -> None:
    run, _ = table.accept(new(webhook={"url": "u", "events": ["start", "completed"]}))
    assert table.take_webhooks() == ()
    assert leases.claim("e") is not None
    (started,) = table.take_webhooks()
    assert (started.id, started.state) == (run.id, RunState.RUNNING)
    clock.now += 30  # the executor died, and the sender is slow
    table.cancel(run.id)
    table.webhook_sent(run.id, ended=False)
    (ended,) = table.take_webhooks()
    assert ended.state is RunState.CANCELLED
    table.webhook_sent(run.id, ended=True)
    clock.now += 1000
    assert table.take_webhooks() == ()


def test_webhooks_are_due_at_the_start_alone_if_they_ask_for_nothing_else(
    table: RunTable, leases: Leases, clock: Clock
) -> None:
    run, _ = table.accept(new(webhook={"url": "u", "events": ["start"]}))
    assert leases.claim("e") is not None
    assert len(table.take_webhooks()) == 1
    table.webhook_sent(run.id, ended=False)
    clock.now += 30
    table.cancel(run.id)
    assert table.take_webhooks() == ()
