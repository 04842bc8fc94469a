"""Tells an outage in few lines: at once, then after growing times with a count, and when it is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

PAUSES = (5.0, 15.0, 60.0, 300.0)
"""Seconds between two lines about one outage; the last one repeats."""

CALM_SECONDS = 3.0
"""Time without a failure after which an outage is over, although not all kinds of work have succeeded since."""

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
        self._since = self._last = self._next = 0.0
        self._recovered = False
        self._failures = self._lines = 0

    def failed(self, work: str, error: object) -> None:
        """Count a failure, and tell it if a line is due."""
        now = self._clock()
        self._forget(now)
        if not self._failing:
            self._since = self._next = now
            self._failures = self._lines = 0
        self._failing[work] = self._last = now
        self._recovered = False
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
        """Note that a kind of work succeeded, and tell the end of the outage if this is it.

        It is when all that failed has succeeded since, or some of it and nothing has failed for CALM_SECONDS: what is
        done every ten minutes is not waited for.
        """
        if not self._failing:
            return
        now = self._clock()
        if self._failing.pop(work, None) is not None:
            self._recovered = True
        if self._failing and not (self._recovered and now - self._last >= CALM_SECONDS):
            return
        self._failing.clear()
        more = {"work": work, "failures": self._failures, "seconds": round(now - self._since, 3)}
        times = "once" if self._failures == 1 else f"{self._failures} times"
        self._log.info("%s: is back after %.0f s; it failed %s", work, now - self._since, times, extra=more)

    def _forget(self, now: float) -> None:
        self._failing = {work: last for work, last in self._failing.items() if now - last < QUIET_SECONDS}
