"""Batches prepared while the device works."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Prefetcher:
    """Batches in order, prepared by a thread while the device works.

    Args:
        count: how many ahead.
        total: the number after the last batch's.
        stride: from one batch that is taken to the next.
    """

    def __init__(self, batch: Callable[[int], Any], count: int, total: int, stride: int = 1) -> None:
        self._batch, self._count, self._total, self._stride = batch, count, total, stride
        self._waiting: dict[int, Future[Any]] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches") if count else None

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def take(self, index: int) -> Any:
        if self._pool is None:
            return self._batch(index)
        after = min(index + self._count * self._stride + 1, self._total)
        for wanted in range(index, after, self._stride):
            if wanted not in self._waiting:
                self._waiting[wanted] = self._pool.submit(self._batch, wanted)
        return self._waiting.pop(index).result()
