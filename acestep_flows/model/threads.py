"""Threads of one process: how many threads a torch operation uses, and items processed in parallel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def limit_threads(torch: Any, count: int) -> None:
    """Make torch operations use `count` threads, in this thread and in threads that have run none so far."""
    torch.get_num_threads()  # initialises this thread: otherwise its first operation would take a later setting
    torch.set_num_threads(count)


class Lanes:
    """A thread pool that divides the cores of a processor among items processed in parallel.

    Cores that share one operation wait for each other at its end, many thousand times in a song, and the short
    operations of a small network leave most cores idle. Lanes wait for each other only once per sampling step.

    Args:
        count: number of cores to share.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="lane") if count > 1 else None
        self._lane = threading.local()

    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """The results of `work` for each item, in order. A single item runs in the calling thread, with all cores."""
        if self._threads is None or len(items) < 2:
            return [work(item) for item in items]
        import torch

        threads, before = max(1, self.count // len(items)), torch.get_num_threads()
        changed: list[int] = []

        def run(item: Item) -> Result:
            if getattr(self._lane, "threads", None) != threads:
                limit_threads(torch, threads)
                self._lane.threads = threads
                changed.append(threads)
            return work(item)

        try:
            return list(self._threads.map(run, items))
        finally:
            if changed:  # not at every step: this call is slow
                torch.set_num_threads(before)  # the default of new threads, so that a later run computes the same

    def close(self) -> None:
        """Wait for the running work, then end the threads."""
        if self._threads is not None:
            self._threads.shutdown()


@cache
def shared_lanes(count: int) -> Lanes:
    """The lanes over `count` cores that all callers of this process share. They end with the process."""
    return Lanes(count)
