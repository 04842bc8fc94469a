"""Pause and drain: nothing new is claimed, what runs goes on, and a pause outlives the process that set it."""

from __future__ import annotations

import pytest

from acestep_flows.api.store import switches as module
from acestep_flows.api.store.audit import Audit
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.leases import Leases
from acestep_flows.api.store.runs import RunTable
from acestep_flows.api.store.schema import QUEUE
from acestep_flows.api.store.switches import Switches
from acestep_flows.errors import NotFound
from tests.api.store.clock import Clock, new


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the table each time."""
    monkeypatch.setattr(module, "FRESH_SECONDS", -1.0)


@pytest.fixture
def switches(database: Database, clock: Clock) -> Switches:
    return Switches(database, clock)


def test_a_pause_stops_every_server_and_is_durable(switches: Switches, url: str, clock: Clock) -> None:
    assert not switches.stops("a")
    assert switches.known(QUEUE) is None
    switch = switches.pause("ops", "new weights")
    assert (switch.who, switch.because) == ("ops", " (new weights)")
    again = Database(url)
    other = Switches(again, clock)
    assert other.stops("a")
    assert other.known(QUEUE) == switch
    assert other.pause("somebody", "else") == switch, "the first pause counts"
    assert other.resume("ops")
    assert not other.resume("ops")
    assert not switches.stops("a")
    again.close()


def test_a_drain_is_of_one_server(switches: Switches, leases: Leases, table: RunTable) -> None:
    with pytest.raises(NotFound, match="no server"):
        switches.drain("a")
    for name in ("a", "b"):
        leases.renew(name, 4, [])
    table.accept(new())
    assert leases.claim("a") is not None
    switches.drain("a", "ops", "the machine is old")
    assert (switches.stops("a"), switches.stops("b")) == (True, False)
    a, b = switches.servers()
    assert (a.name, a.slots, a.runs, a.drain is not None) == ("a", 4, 1, True)
    assert (b.name, b.runs, b.drain) == ("b", 0, None)
    assert switches.undrain("a")
    assert not switches.undrain("a")
    assert not switches.stops("a")


def test_servers_that_are_gone_are_forgotten(switches: Switches, leases: Leases, clock: Clock) -> None:
    for name in ("a", "b"):
        leases.renew(name, 4, [])
    switches.drain("a")
    leases.remove_executor("a")
    switches.drain("b")
    assert set(switches.read()) == {"b"}
    clock.now += 3600
    assert switches.servers() == ()
    with pytest.raises(NotFound, match="no server 'b'"):
        switches.undrain("b")


def test_each_change_is_in_the_audit_log(switches: Switches, leases: Leases, database: Database) -> None:
    leases.renew("a", 4, [])
    for _ in range(2):
        switches.pause("ops", "why not")
        switches.drain("a", "ops")
    for _ in range(2):
        switches.undrain("a", "ops")
        switches.resume("ops")
    told = [(record.action, record.object, record.details) for record in reversed(Audit(database).list())]
    assert told == [
        ("queue.paused", QUEUE, {"reason": "why not"}),
        ("server.drained", "a", {}),
        ("server.resumed", "a", {}),
        ("queue.resumed", QUEUE, {}),
    ]


def test_the_table_is_read_twice_a_second_at_most(
    switches: Switches, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FRESH_SECONDS", 60.0)
    switches.read()
    monkeypatch.setattr(database, "read", lambda: pytest.fail("read again"))
    for _ in range(100):
        assert not switches.stops("a")
