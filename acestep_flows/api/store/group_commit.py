"""Puts what several threads write at the same time into one transaction."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from acestep_flows.errors import StorageError

Item = TypeVar("Item")
Result = TypeVar("Result")

LARGEST_GROUP = 64

GATHER_SECONDS = 0.001
"""How long a group waits for more items. A flush of the disk takes many times as long."""


@dataclass(eq=False)
class _Entry(Generic[Item, Result]):
    item: Item
    results: list[Result | BaseException] = field(default_factory=list)


class GroupCommit(Generic[Item, Result]):
    """Writes items, one group after the other. While one group is written, the next one gathers.

    A commit costs a flush of the disk, so groups make many writers fast. A thread alone waits for GATHER_SECONDS.

    Args:
        write: writes a group in one transaction. Returns for each item its result, or an exception that `put` raises.
            If it raises, nothing was written. Each item is then written alone, unless the store is to blame.
    """

    def __init__(self, write: Callable[[Sequence[Item]], Sequence[Result | BaseException]]) -> None:
        self._write = write
        self._waiting: deque[_Entry[Item, Result]] = deque()
        self._turn = threading.Lock()

    def put(self, item: Item) -> Result:
        """Write an item. Returns when it is committed."""
        entry: _Entry[Item, Result] = _Entry(item)
        self._waiting.append(entry)
        while not entry.results:
            with self._turn:
                if not entry.results:
                    self._write_group()
        result = entry.results[0]
        if isinstance(result, BaseException):
            raise result
        return result

    def _write_group(self) -> None:
        time.sleep(GATHER_SECONDS)
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_GROUP))]
        results: Sequence[Result | BaseException]
        try:
            results = self._write([entry.item for entry in group])
        except StorageError as error:
            results = [error] * len(group)
        except Exception as error:  # noqa: BLE001 - it may be of one item; the others must not fail with it
            results = [error] if len(group) == 1 else [self._alone(entry.item) for entry in group]
        except BaseException:
            self._waiting.extendleft(reversed(group))
            raise
        for entry, result in zip(group, results, strict=True):
            entry.results.append(result)

    def _alone(self, item: Item) -> Result | BaseException:
        try:
            return self._write([item])[0]
        except Exception as error:  # noqa: BLE001 - `put` raises it in the thread of this item
            return error
