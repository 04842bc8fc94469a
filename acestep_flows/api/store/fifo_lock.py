"""A lock that threads get in the order in which they asked for it."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator


class FifoLock:
    """A first-in, first-out lock between threads.

    SQLite waits for a lock by polling. With many writers, some of them would never find it free.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._locked = False

    @contextlib.contextmanager
    def hold(self, seconds: float) -> Iterator[None]:
        """Hold the lock; wait for it up to `seconds`.

        Raises:
            TimeoutError: the lock was not free within `seconds`.
        """
        granted = threading.Event()
        with self._mutex:
            if self._locked:
                self._waiting.append(granted)
            else:
                self._locked = True
                granted.set()
        if not granted.wait(seconds):
            with self._mutex:
                if not granted.is_set():  # it may have been granted just now
                    self._waiting.remove(granted)
                    raise TimeoutError(f"locked for {seconds:g} s")
        try:
            yield
        finally:
            with self._mutex:
                if self._waiting:
                    self._waiting.popleft().set()
                else:
                    self._locked = False
