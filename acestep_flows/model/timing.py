"""What short works cost on one core, compared so that a busy machine does not decide."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

ROUNDS = 25
"""The best of a few is a matter of chance on a busy machine, and what is chosen is kept."""
FINE = 1e-5
"""Seconds. Windows counts processor time in steps of 16 ms."""

_clock = time.thread_time if time.get_clock_info("thread_time").resolution < FINE else time.perf_counter


def by_turns(*works: Callable[[], object]) -> list[float]:
    """Seconds of the cheapest of several calls of each work, called by turns after one call to warm up.

    The works have one thread, and the seconds are its processor time where the system counts that finely: waiting for
    a core costs nothing.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for work in works:
            work()
        rounds = [[_seconds(work) for work in works] for _ in range(ROUNDS)]
    finally:
        torch.set_num_threads(threads)
    return [min(column) for column in zip(*rounds, strict=True)]


def _seconds(work: Callable[[], object]) -> float:
    started = _clock()
    work()
    return _clock() - started
