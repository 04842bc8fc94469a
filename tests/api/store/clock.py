"""A clock that tests advance, and new runs."""

from __future__ import annotations

from typing import Any

from acestep_flows.api.store.records import NewRun


class Clock:
    """Seconds since the epoch. Every call advances it by ten microseconds, so that ids are ordered."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        self.now += 1e-5
        return self.now


def new(graph: str = "song", **fields: Any) -> NewRun:
    return NewRun(**({"graph": graph, "digest": "d", "content": {"graph": {}}, "inputs": {"seed": 1}} | fields))
