"""A limit for the bytes of all unfinished uploads together."""

from __future__ import annotations

import threading

from acestep_flows.errors import Overloaded

RETRY_AFTER_SECONDS = 30.0


class UnfinishedBytes:
    """Counts the bytes of unfinished uploads. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._counting = threading.Lock()

    def add(self, size: int) -> None:
        """Add `size`; negative when an upload ends.

        Raises:
            Overloaded: the total would exceed the limit.
        """
        with self._counting:
            if size > 0 and self._bytes + size > self._most:
                raise Overloaded(
                    f"unfinished uploads take {self._bytes} bytes together; try again later",
                    retry_after=RETRY_AFTER_SECONDS,
                )
            self._bytes += size
