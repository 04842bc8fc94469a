"""Whether the work for an input grows with its size and not with its square."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

STEP = 4
MOST_GROWTH = 2.5 * STEP
"""Four times the input may take ten times as long, where its square would take sixteen: other processes disturb."""

LEAST_SECONDS = 0.004
"""Shorter work is too short to be compared."""

ATTEMPTS = 4


def grows_with_its_size(make: Callable[[int], T], work: Callable[[T], object], size: int) -> bool:
    """Whether `work` on an input of four times the size takes at most so many times as long.

    Measures processor time of this thread. One good attempt of several is enough: work that grows with the square has
    none.
    """
    small, large = make(size), make(STEP * size)
    work(small)  # caches and imports
    return any(
        _seconds(work, large) <= MOST_GROWTH * max(LEAST_SECONDS, _seconds(work, small)) for _ in range(ATTEMPTS)
    )


def _seconds(work: Callable[[T], object], content: T) -> float:
    begun = time.thread_time()
    work(content)
    return time.thread_time() - begun
