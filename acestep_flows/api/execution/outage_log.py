"""Tells an outage in few lines: at once, then after growing times with a count, and when it is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

PAUSES = (5.0, 15.0, 60.0, 300.0)
"""Seconds between two lines about one outage; the last one repeats."""

QUIET_SECONDS = 60.0
"""Work that has not failed for this long is no longer part of an outage."""


class OutageLog:
    """The log lines about what fails until something outside works again, such as a database.

    Several kinds of work that fail at the same time are one outage. For one event loop.

    Args:
        log: takes the lines.
        clock: a monotonic clock in seconds.
    """

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._clock = log, clock
        self._failing: dict[str, float] = {}
        """When each kind of work failed last."""
        self._since = self._next = 0.0
        self._failures = self._lines = 0

    def failed(self, work: str, error: object) -> None:
        """Count a failure, and tell it if a line is due."""
        now = self._clock()
        self._forget(now)
        if not self._failing:
            self._since = self._next = now
            self._failures = self._lines = 0
        self._failing[work] = now
        self._failures += 1
        if now < self._next:
            return
        self._next = now + PAUSES[min(self._lines, len(PAUSES) - 1)]
        self._lines += 1
        lasted = now - self._since
        more = {"work": work, "failures": self._failures, "seconds": round(lasted, 3)}
        if self._failures == 1:
            self._log.warning("%s: %s", work, error, extra=more)
        else:
            self._log.warning("%s: %s (it failed %d times in %.0f s)", work, error, self._failures, lasted, extra=more)

    def worked(self, work: str) -> None:
        """Note that a kind of work succeeded. If it was the last that failed, tell that the outage is over."""
        if work not in self._failing:
            return
        now = self._clock()
        del self._failing[work]
        self._forget(now)
        if not self._failing:
            more = {"work": work, "failures": self._failures, "seconds": round(now - self._since, 3)}
            times = "once" if self._failures == 1 else f"{self._failures} times"
            self._log.info("%s: is back after %.0f s; it failed %s", work, now - self._since, times, extra=more)

    def _forget(self, now: float) -> None:
        self._failing = {work: last for work, last in self._failing.items() if now - last < QUIET_SECONDS}
