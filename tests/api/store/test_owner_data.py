"""What belongs to an owner: usage, events of all runs, sessions, and what is adopted."""

from __future__ import annotations

from acestep_flows.api.store.adoption import Adopted, adopt, unseen_runs
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.deletion import Deletion
from acestep_flows.api.store.event_feed import EventFeed
from acestep_flows.api.store.leases import Leases, RunChanges
from acestep_flows.api.store.records import Blob, NewOutput, NodeRecord, RunState, UsageRecord
from acestep_flows.api.store.runs import RunTable
from acestep_flows.api.store.sessions import SESSION_SECONDS, Sessions, link_secret
from acestep_flows.api.store.usage import DAY, Usage
from tests.api.store.clock import Clock, new


def run_of(database: Database, clock: Clock, owner: str, state: RunState = RunState.SUCCEEDED) -> str:
    """A run that made 30 s of music in two files, computed one node in 2 s, and found another in the cache."""
    RunTable(database, clock).accept(new(owner=owner))
    leases = Leases(database, 20.0, clock)
    claimed = leases.claim("e")
    assert claimed is not None
    nodes = [NodeRecord("a", "s"), NodeRecord("b", "s")]
    leases.begin(claimed.lease, nodes)
    over = {0: NodeRecord("a", "s", "finished", seconds=2.0), 1: NodeRecord("b", "s", "cached", seconds=50.0)}
    files = [
        NewOutput(name, kind, "t", "f", Blob(name * 64, 1), {"seconds": seconds})
        for name, kind, seconds in (("a", "audio", 10.0), ("b", "audio", 20.0), ("c", "latents", 20.0))
    ]
    outputs = files if state is RunState.SUCCEEDED else []
    assert leases.finish(claimed.lease, state, changes=RunChanges([], over, 0.9), outputs=outputs)
    return claimed.record.id


def test_usage_counts_ended_runs_by_owner_and_day(database: Database, clock: Clock, table: RunTable) -> None:
    usage = Usage(database, clock)
    assert usage.by_owner() == ()
    first = clock.now
    run_of(database, clock, "alice")
    run_of(database, clock, "alice", RunState.FAILED)
    clock.now += 3 * DAY
    id = run_of(database, clock, "alice")
    table.accept(new(owner="bob"))
    assert (usage.active("bob"), usage.active("alice")) == (1, 0)
    table.cancel(table.list(owner="bob").runs[0].id)
    assert usage.by_owner() == (UsageRecord("alice", 3, 60.0, 6.0), UsageRecord("bob", 1, 0.0, 0.0))
    assert usage.by_owner("alice", since=first + DAY) == (UsageRecord("alice", 1, 30.0, 2.0),)
    assert usage.by_owner("alice", until=first + DAY) == (UsageRecord("alice", 2, 30.0, 4.0),)
    assert usage.by_owner("carol") == ()
    Deletion(database, clock).forget_run(id)
    assert usage.by_owner("alice") == (UsageRecord("alice", 3, 60.0, 6.0),)


def test_events_of_all_runs_have_one_order(database: Database, clock: Clock, table: RunTable) -> None:
    feed = EventFeed(database)
    assert (feed.head(), feed.read(None, 0)) == (0, ((), 0))
    one, two = run_of(database, clock, "alice"), run_of(database, clock, "bob")
    events, cursor = feed.read("alice", 0)
    assert [(event.run, event.event.seq, event.event.type) for event in events] == [
        (one, 1, "accepted"), (one, 2, "started"), (one, 3, "succeeded")
    ]  # fmt: skip
    assert cursor == feed.head() == 6
    every, _ = feed.read(None, 0)
    assert [event.number for event in every] == [1, 2, 3, 4, 5, 6]
    assert {event.run for event in every} == {one, two}
    page, cursor = feed.read("alice", 0, limit=2)
    assert [event.number for event in page] == [1, 2]
    assert feed.read("alice", cursor)[0] == every[2:3]
    assert feed.read("carol", 0) == ((), 6)


def test_numbers_of_events_are_not_given_twice(database: Database, clock: Clock, table: RunTable) -> None:
    """A client that resumes after the last event of a run that was forgotten misses nothing."""
    feed = EventFeed(database)
    id = run_of(database, clock, "alice")
    head = feed.head()
    Deletion(database, clock).forget_run(id)
    assert feed.head() == head
    table.accept(new(owner="alice"))
    (event,), _ = feed.read("alice", head)
    assert event.number == head + 1


def test_a_session_ends(database: Database, clock: Clock, url: str) -> None:
    sessions = Sessions(database, clock)
    token, other = sessions.open("alice", "d" * 64), sessions.open("bob", "e" * 64)
    again = Database(url)
    found = Sessions(again, clock).find(token)
    again.close()
    assert found is not None
    assert (found.owner, found.key_digest) == ("alice", "d" * 64)
    assert sessions.find(token + "x") is None
    assert sessions.find("") is None
    sessions.end(token)
    sessions.end(token)
    assert sessions.find(token) is None
    assert sessions.find(other) is not None
    clock.now += SESSION_SECONDS
    assert sessions.find(other) is None
    with database.read() as connection:
        assert token not in str(connection.exec_driver_sql("SELECT * FROM sessions").all())


def test_processes_share_the_secret_of_links(database: Database, url: str) -> None:
    secret = link_secret(database)
    again = Database(url)
    assert link_secret(again) == secret
    assert len(secret) == 32
    again.close()


def test_what_nobody_owns_is_adopted(database: Database, clock: Clock, table: RunTable) -> None:
    run_of(database, clock, "alice")
    made = run_of(database, clock, "")
    table.accept(new(owner="alice", idempotency_key="k"))
    twin = table.accept(new(idempotency_key="k"))[0]
    alone = table.accept(new(idempotency_key="other"))[0]
    assert unseen_runs(table).startswith("3 runs of the time without API keys: ")
    assert adopt(database, "alice") == Adopted(runs=3, uploads=0)
    assert unseen_runs(table) == ""
    assert adopt(database, "alice") == Adopted(runs=0, uploads=0)
    assert {run.id for run in table.list(owner="alice").runs} >= {made, twin.id, alone.id}
    assert table.list(owner="").runs == ()
    assert table.accept(new(owner="alice", idempotency_key="other"))[0].id == alone.id
    assert table.accept(new(owner="alice", idempotency_key="k"))[0].id not in (twin.id, alone.id)
    assert Usage(database, clock).by_owner() == (UsageRecord("alice", 2, 60.0, 4.0),)
