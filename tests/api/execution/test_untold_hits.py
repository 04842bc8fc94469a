"""Cache hits that are told as computations."""

from __future__ import annotations

from typing import Any

import pytest

from acestep_flows.api.execution.run_journal import Journal
from acestep_flows.api.execution.untold_hits import UntoldHits
from acestep_flows.api.store.records import NodeRecord
from acestep_flows.graph.execution.cache import Cache
from acestep_flows.graph.execution.events import Event, EventType
from acestep_flows.graph.execution.result import NodeResult, Result
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.planning.plan import Plan, PlanNode
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.stages.registry import stages

NODES = {"take": PlanNode("take", "sample", {"steps": 7}), "song": PlanNode("song", "vocode", {})}
PLAN = Plan("song", "0" * 64, {}, NODES, {})
RECORDS = (NodeRecord("take", "sample"), NodeRecord("song", "vocode"))


@pytest.fixture
def untold(strict: Any) -> UntoldHits:
    runner = LocalRunner(strict)
    return UntoldHits(PLAN, Scheduler(stages(), runner, Cache(runner)), [1.25, 0.5])


def event(type: EventType, node: str = "take", **more: Any) -> Event:
    return Event(type, node, NODES[node].stage, 1.0, **more)


def told(journal: Journal) -> list[tuple[str, Any, Any]]:
    changes = journal.take_changes()
    return [] if changes is None else [(type, body.get("step"), body.get("seconds")) for type, body in changes.events]


def test_a_hit_has_the_events_of_a_computation(untold: UntoldHits) -> None:
    journal = Journal(RECORDS, [1.25, 0.5], untold=untold)
    for each in (event("queued"), event("cached", seconds=3.5)):
        journal.add_event(each)
    changes = journal.take_changes()
    assert changes is not None
    assert [type for type, _ in changes.events] == ["queued", "started", "progress", "finished"]
    take = changes.nodes[0]
    assert (take.state, take.step, take.steps, take.seconds) == ("finished", 7, 7, 3.5)
    journal.add_event(event("cached", "song"))
    assert told(journal) == [("started", None, None), ("finished", None, 0.5)], "disk knows no seconds"


def test_a_node_that_waited_for_the_work_of_another_run_starts_once(untold: UntoldHits) -> None:
    journal = Journal(RECORDS, [1.25, 0.5], untold=untold)
    for each in (event("started"), event("progress", step=5, steps=7), event("cached")):
        journal.add_event(each)
    assert told(journal) == [("started", None, None), ("progress", 5, None), ("finished", None, 1.25)]


def test_a_run_that_goes_on_does_not_end_its_nodes_again(untold: UntoldHits) -> None:
    done = NodeRecord("take", "sample", "finished", seconds=2.0)
    journal = Journal((done, RECORDS[1]), [1.25, 0.5], untold=untold)
    journal.add_event(event("queued"))  # a node that is told as waiting again would wait for ever
    journal.add_event(event("cached"))
    assert told(journal) == []


def test_a_recipe_names_no_hit(untold: UntoldHits) -> None:
    nodes = {"take": NodeResult("take", "sample", source="disk"), "song": NodeResult("song", "vocode", seconds=2.0)}
    result = untold.result(Result(PLAN, {}, nodes, 1.0, {}))
    assert [(node.source, node.seconds) for node in result.nodes.values()] == [("computed", 1.25), ("computed", 2.0)]


def test_other_events_stay(untold: UntoldHits) -> None:
    kinds: tuple[EventType, ...] = ("queued", "started", "skipped", "failed", "cancelled")
    for kind in kinds:
        assert untold.events(event(kind), begun=False) == (event(kind),)
