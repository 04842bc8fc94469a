"""The journal: rows, events and progress of one run between two writes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.api.execution.run_journal import Journal
from acestep_flows.api.store.records import NodeRecord
from acestep_flows.errors import InputError
from acestep_flows.graph.execution.events import Event, EventType

NODES = (NodeRecord("a", "make"), NodeRecord("b", "step"), NodeRecord("c", "mix"))


def event(type: EventType, node: str = "a", time: float = 1.0, **more: Any) -> Event:
    return Event(type, node, "stage", time, **more)


def test_nodes_have_the_state_of_their_last_event() -> None:
    journal = Journal(NODES, [1, 2, 1])
    for each in (event("queued"), event("started", time=2), event("finished", time=5, seconds=2.5)):
        journal.add_event(each)
    journal.add_event(event("queued", "b"))
    journal.add_event(event("started", "b"))
    journal.add_event(event("progress", "b", step=1, steps=4))
    journal.add_event(event("failed", "c", error=InputError("odd")))
    changes = journal.take_changes()
    assert changes is not None
    assert changes.nodes == {
        0: NodeRecord("a", "make", "finished", seconds=2.5, started_at=2, finished_at=5),
        1: NodeRecord("b", "step", "started", 1, 4, started_at=1),
        2: NodeRecord("c", "mix", "failed", finished_at=1, error={"code": "invalid_input", "message": "odd"}),
    }
    assert changes.progress == (1 + 2 / 4) / 4
    assert [type for type, _ in changes.events] == [
        "queued", "started", "finished", "queued", "started", "progress", "failed"
    ]  # fmt: skip
    assert journal.take_changes() is None


def test_nodes_that_are_not_written_yet_are_in_the_first_changes() -> None:
    journal = Journal(NODES, [1, 2, 1], unwritten=True)
    journal.add_event(event("started", "b", time=2))
    changes = journal.take_changes()
    assert changes is not None
    assert changes.nodes == {0: NODES[0], 1: NodeRecord("b", "step", "started", started_at=2), 2: NODES[2]}
    assert journal.take_changes() is None
    journal.add_event(event("finished", "b", time=3))
    journal.restore(changes)  # they could not be written
    again = journal.take_changes()
    assert again is not None
    assert [again.nodes[at].state for at in range(3)] == ["waiting", "finished", "waiting"]


def test_only_the_latest_step_of_a_node_is_written() -> None:
    journal = Journal(NODES, [1, 1, 1])
    for step in range(5):
        journal.add_event(event("progress", "a", step=step, steps=9))
        journal.add_event(event("progress", "b", step=step, steps=9))
    journal.add_event(event("finished", "a"))
    journal.add_event(event("progress", "b", step=5, steps=9))
    changes = journal.take_changes()
    assert changes is not None
    assert [(type, body["node"], body.get("step")) for type, body in changes.events] == [
        ("progress", "a", 4), ("finished", "a", None), ("progress", "b", 5)
    ]  # fmt: skip


def test_restored_changes_are_written_later() -> None:
    journal = Journal(NODES, [1, 1, 1])
    journal.add_event(event("queued"))
    journal.add_event(event("progress", "b", step=1, steps=2))
    first = journal.take_changes()
    assert first is not None
    journal.add_event(event("progress", "b", step=2, steps=2))
    journal.restore(first)
    journal.add_event(event("finished"))
    changes = journal.take_changes()
    assert changes is not None
    assert [body.get("step") for _, body in changes.events] == [None, 1, 2, None]
    assert (changes.nodes[0].state, changes.nodes[1].step) == ("finished", 2)


def test_another_attempt_keeps_what_was_not_written() -> None:
    """The store went away between the end of a node and the next write."""
    nodes = [NodeRecord("a", "s"), NodeRecord("b", "s")]
    former = Journal(nodes, [1, 1])
    for type in ("queued", "started", "finished"):
        former.add_event(event(type))
    former.add_event(event("started", "b"))
    journal = Journal(nodes, [1, 1], former=former)
    assert journal.progress == former.progress == 0.5
    journal.add_event(event("queued"))
    journal.add_event(event("cached"))
    changes = journal.take_changes()
    assert changes is not None
    assert {at: node.state for at, node in changes.nodes.items()} == {0: "finished"}
    assert [type for type, _ in changes.events[:4]] == ["queued", "started", "finished", "started"]
    assert former.take_changes() is None


def test_a_continued_run_keeps_its_finished_nodes() -> None:
    done = NodeRecord("a", "make", "finished", seconds=9, started_at=1, finished_at=2)
    journal = Journal((done, *NODES[1:]), [2, 1, 1], 0.3)
    assert journal.progress == 0.3
    journal.add_event(event("queued"))
    journal.add_event(event("cached", seconds=0.1))
    changes = journal.take_changes()
    assert changes is not None
    assert changes.nodes == {}
    assert [type for type, _ in changes.events] == ["queued", "cached"]
    journal.add_event(event("queued", "b"))
    journal.add_event(event("finished", "b", seconds=1))
    assert journal.progress == 0.75
    journal.add_event(event("started", time=7))  # its cache entry was lost
    again = journal.take_changes()
    assert again is not None
    assert again.nodes[0] == NodeRecord("a", "make", "started", seconds=9, started_at=7)
    assert again.progress == 0.75


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["queued", "started", "progress", "cached", "finished", "skipped", "failed", "cancelled"]),
            st.sampled_from("abc"),
            st.integers(0, 9),
        ),
        max_size=60,
    )
)
def test_progress_only_grows_and_ends_below_one(history: list[tuple[EventType, str, int]]) -> None:
    journal = Journal(NODES, [0.1, 5, 1])
    last = 0.0
    for type, node, step in history:
        journal.add_event(event(type, node, step=step, steps=9) if type == "progress" else event(type, node))
        assert last <= journal.progress < 1
        last = journal.progress
    changes = journal.take_changes()
    values = [] if changes is None else [body["progress"] for _, body in changes.events]
    assert values == sorted(values)
