"""A run that was interrupted is shown as one that was not."""

from __future__ import annotations

from acestep_flows.client import RunEvent
from acestep_flows.graph.execution.events import Event
from acestep_flows.watching import Watched


def event(seq: int, type: str, node: str = "", **more: object) -> RunEvent:
    return RunEvent(seq, type, node, node, 1.0, None, more)


def test_every_node_begins_and_ends_once() -> None:
    heard: list[Event] = []
    watched = Watched(heard.append)
    told = [("accepted", ""), ("started", ""), ("started", "words"), ("finished", "words"), ("started", "take")]
    told += [("progress", "take"), ("continued", ""), ("cached", "words"), ("started", "take"), ("progress", "take")]
    told += [("of_the_future", "take"), ("finished", "take"), ("succeeded", "")]
    for seq, (type, node) in enumerate(told):
        watched.hear(event(seq, type, node, step=3, steps=9, seconds=2.0))
    assert [(each.type, each.node) for each in heard] == [
        ("started", "words"),
        ("finished", "words"),
        ("started", "take"),
        ("progress", "take"),
        ("progress", "take"),
        ("finished", "take"),
    ]
    assert (heard[3].step, heard[3].steps, heard[1].seconds) == (3, 9, 2.0)
