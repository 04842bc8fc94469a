"""Events of a run on a server, as the display of a run in this process wants them: every node begins and ends once.

A run whose executor died tells of its finished nodes again when it goes on, and a node at work starts anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import get_args

from acestep_flows.client.records import RunEvent
from acestep_flows.graph.execution.events import ENDS, Event, EventType

_KNOWN: Collection[str] = get_args(EventType)


class Watched:
    """Passes on what happens to nodes.

    Args:
        hear: the display.
    """

    def __init__(self, hear: Callable[[Event], None]) -> None:
        self._hear = hear
        self._started: set[str] = set()
        self._ended: set[str] = set()

    def hear(self, event: RunEvent) -> None:
        """Pass an event on, if it is news."""
        if not event.node or event.type not in _KNOWN or event.node in self._ended:
            return
        if event.type == "started":
            if event.node in self._started:
                return
            self._started.add(event.node)
        if event.type in ENDS:
            self._ended.add(event.node)
        self._hear(_local(event))


def _local(event: RunEvent) -> Event:
    told = event.content
    type: EventType = event.type  # type: ignore[assignment]  # checked above
    return Event(type, event.node, event.stage, event.time, told.get("step"), told.get("steps"), told.get("seconds"))
