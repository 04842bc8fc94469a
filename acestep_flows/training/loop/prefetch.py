"""Batches made in advance, while the device computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Prefetcher:
    """Gives batches in order and makes the next ones in a thread. Use it as a context manager.

    Args:
        batch: makes the batch of a number.
        count: batches made in advance; 0 makes each batch when it is taken, without a thread.
        total: batches of the whole run.
        stride: difference between the numbers of successive batches.
    """

    def __init__(self, batch: Callable[[int], Any], count: int, total: int, stride: int = 1) -> None:
        self._batch, self._count, self._total, self._stride = batch, count, total, stride
        self._futures: dict[int, Future[Any]] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches") if count else None

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def take(self, index: int) -> Any:
        """The batch of number `index`. Raises whatever making it raised."""
        if self._pool is None:
            return self._batch(index)
        end = min(index + self._count * self._stride + 1, self._total)
        for number in range(index, end, self._stride):
            if number not in self._futures:
                self._futures[number] = self._pool.submit(self._batch, number)
        return self._futures.pop(index).result()
