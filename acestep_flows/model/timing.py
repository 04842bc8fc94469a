"""What short works cost, compared so that a busy machine does not decide."""

from __future__ import annotations

import time
from collections.abc import Callable

ROUNDS = 5
FINE = 1e-5
"""Seconds. Windows counts processor time in steps of 16 ms."""

_clock = time.process_time if time.get_clock_info("process_time").resolution < FINE else time.perf_counter


def by_turns(*works: Callable[[], object]) -> list[float]:
    """Seconds of the cheapest of several calls of each work, called by turns after one call to warm up.

    They are seconds of processor time, of all threads, where the system counts it finely: work that waits for a core
    costs no more.
    """
    for work in works:
        work()
    rounds = [[_seconds(work) for work in works] for _ in range(ROUNDS)]
    return [min(column) for column in zip(*rounds, strict=True)]


def _seconds(work: Callable[[], object]) -> float:
    started = _clock()
    work()
    return _clock() - started
