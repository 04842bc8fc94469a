"""Threads of one process: how many an operation of torch takes, and work side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def limit_threads(torch: Any, count: int) -> None:
    """Let torch operations of this thread, and of those that have made none yet, use `count` threads."""
    torch.get_num_threads()  # settles this thread: else its first operation would ask for the number in force by then
    torch.set_num_threads(count)


class Lanes:
    """Threads that work side by side on the cores of a processor.

    Cores that share one operation wait for each other at its end, many thousand times in a song, and short operations
    of a small network leave most of them idle anyway. Lanes wait for each other once in a step.

    Args:
        count: cores that there are to share.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="lane") if count > 1 else None

    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """`work` of each item, in order. A single one is worked in the calling thread, with all its cores."""
        if self._threads is None or len(items) < 2:
            return [work(item) for item in items]
        width = max(1, self.count // len(items))

        def narrow(item: Item) -> Result:
            import torch

            limit_threads(torch, width)
            return work(item)

        return list(self._threads.map(narrow, items))

    def close(self) -> None:
        """End the threads, waiting for what they work at."""
        if self._threads is not None:
            self._threads.shutdown()


@cache
def shared_lanes(count: int) -> Lanes:
    """The lanes of whoever has `count` cores in this process; they end with it."""
    return Lanes(count)
