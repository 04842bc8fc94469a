"""How long short works take, compared so that a busy machine does not decide."""

from __future__ import annotations

import time
from collections.abc import Callable

ROUNDS = 5


def by_turns(*works: Callable[[], object]) -> list[float]:
    """Seconds of the fastest of several calls of each work. They are called by turns, after one call to warm up."""
    for work in works:
        work()
    rounds = [[_seconds(work) for work in works] for _ in range(ROUNDS)]
    return [min(column) for column in zip(*rounds, strict=True)]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
