"""A lock that is had in the order in which it was asked for."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator


class FifoLock:
    """One thread at a time, the longest waiting next.

    SQLite's own way to wait is to look again now and then: in a crowd of writers, some never find it free.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._taken = False

    @contextlib.contextmanager
    def mine(self, seconds: float) -> Iterator[None]:
        """Have a turn.

        Raises:
            TimeoutError: it did not come within `seconds`.
        """
        come = threading.Event()
        with self._mutex:
            if self._taken:
                self._waiting.append(come)
            else:
                self._taken = True
                come.set()
        if not come.wait(seconds):
            with self._mutex:
                if not come.is_set():  # it may have come just now
                    self._waiting.remove(come)
                    raise TimeoutError(f"locked for {seconds:g} s")
        try:
            yield
        finally:
            with self._mutex:
                if self._waiting:
                    self._waiting.popleft().set()
                else:
                    self._taken = False
