"""Pause and drain: nothing new is claimed, what runs goes on, and a pause outlives the process that set it."""

from __future__ import annotations

import pytest

from acestep_flows.api.store.audit import Audit
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.leases import Leases
from acestep_flows.api.store.runs import RunTable
from acestep_flows.api.store.schema import QUEUE
from acestep_flows.api.store.switches import Switches
from acestep_flows.errors import NotFound
from tests.api.store.clock import Clock, new


@pytest.fixture
def switches(database: Database, clock: Clock) -> Switches:
    return Switches(database, clock)


def test_a_pause_stops_every_server_and_is_durable(
    switches: Switches, leases: Leases, table: RunTable, url: str, clock: Clock
) -> None:
    for _ in range(4):
        table.accept(new())
    assert leases.claim("a") is not None
    assert switches.known(QUEUE) is None
    switch = switches.pause("ops", "new weights")
    assert (switch.who, switch.because) == ("ops", " (new weights)")
    again = Database(url)
    other, others_leases = Switches(again, clock), Leases(again, 20.0, clock)
    assert [leases.claim("a"), others_leases.claim("b")] == [None, None], "from the next claim on"
    assert other.known(QUEUE) is None, "not read yet"
    other.read()
    assert other.known(QUEUE) == switch
    assert other.pause("somebody", "else") == switch, "the first pause counts"
    assert other.resume("ops")
    assert not other.resume("ops")
    assert leases.claim("a") is not None
    assert others_leases.claim("b") is not None
    again.close()


def test_a_claim_that_knows_of_more_runs_heeds_a_pause_too(switches: Switches, leases: Leases, table: RunTable) -> None:
    """After a claim that got all it asked for, the next one does not look for work first."""
    for _ in range(4):
        table.accept(new())
    assert len(leases.claim_several("a", 2)) == 2
    switches.pause()
    assert leases.claim_several("a", 2) == []
    switches.resume()
    assert len(leases.claim_several("a", 4)) == 2


def test_a_lease_that_ran_out_is_not_claimed_in_a_pause(
    switches: Switches, leases: Leases, table: RunTable, clock: Clock
) -> None:
    table.accept(new())
    assert leases.claim("a") is not None
    switches.pause()
    clock.now += 21
    assert leases.claim("b") is None
    switches.resume()
    assert leases.claim("b") is not None


def test_a_drain_is_of_one_server(switches: Switches, leases: Leases, table: RunTable) -> None:
    with pytest.raises(NotFound, match="no server"):
        switches.drain("a")
    for name in ("a", "b"):
        leases.renew(name, 4, [])
    for _ in range(3):
        table.accept(new())
    assert leases.claim("a") is not None
    switches.drain("a", "ops", "the machine is old")
    assert leases.claim("a") is None
    assert leases.claim("b") is not None
    a, b = switches.servers()
    assert (a.name, a.slots, a.runs, a.drain is not None) == ("a", 4, 1, True)
    assert (b.name, b.runs, b.drain) == ("b", 1, None)
    assert switches.undrain("a")
    assert not switches.undrain("a")
    assert leases.claim("a") is not None


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
