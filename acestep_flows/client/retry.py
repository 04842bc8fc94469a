"""How long clients retry while a server does not answer or is busy, and how they poll a run until it ends."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from acestep_flows.errors import InputError, Overloaded, TimedOut, Unavailable, Unreachable

log = logging.getLogger(__name__)

PASSING = (Overloaded, Unavailable)
"""Errors of a server that pass by themselves: 429, and 503 with `retry_after`."""

PAUSES = (0.1, 2.0)
"""First and longest pause between two attempts, in seconds."""

HOLD = 10.0
"""Seconds that the server may hold its response. Proxies time out later than that."""

POLL_PAUSES = (0.05, 1.0)
"""First and longest pause between two polls of a run, in seconds, if the server responds at once."""


GO_ON = "wait(run) waits again, cancel(run) stops it"
"""What can be done with a run that takes longer than somebody waited."""


def no_advice(reason: object) -> str:
    """Nothing to add to a reason."""
    return ""


TELL_AFTER = 1.0
"""Seconds without an answer after which a warning says that the client waits."""

WORTH_TELLING = 5.0
"""Seconds that a client must have left to wait; if it has fewer, its error soon says the same."""


def is_number(value: object) -> bool:
    """Whether a value is a number; infinity is one."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


class LastTold:
    """When a client said last that it waits. Its calls wait for the same server, so one warning is for all of them."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """The wait is over; the next one is told again."""
        self._until = -math.inf

    def is_due(self, now: float, left: float) -> bool:
        """Whether to say it now, with `left` seconds to wait; what was said lasts for that long."""
        if now < self._until:
            return False
        self._until = now + left
        return True


class RetryBudget:
    """Pauses between attempts, until the server has not done what was asked for some time.

    A busy server says when to come again, which is respected. A warning is logged once it takes long.

    Args:
        seconds: how long to retry after the latest answer; 0 gives up at once.
        server: address of the server, for the error.
        advice: what to do about a reason, to follow it in messages.
        clock: a monotonic clock in seconds.
        last_told: shared by the calls of one client.
    """

    def __init__(
        self,
        seconds: float,
        server: str,
        advice: Callable[[object], str] = no_advice,
        clock: Callable[[], float] = time.monotonic,
        last_told: LastTold | None = None,
    ) -> None:
        self._seconds, self._server, self._advice, self._clock = seconds, server, advice, clock
        self._last_told, self._is_told = last_told or LastTold(), False
        self.renew()

    def renew(self) -> None:
        """Start the time again, because the server answered."""
        self._until = self._clock() + self._seconds
        self._pause = PAUSES[0]
        self._failing_since: float | None = None
        if self._is_told:
            self._last_told.forget()
        self._is_told = False

    def pause(self, reason: object) -> float:
        """Seconds to wait before the next attempt.

        Args:
            reason: an exception, or a text. Of those in PASSING, `retry_after` is the shortest pause.

        Raises:
            Unreachable: the time is over.
            Overloaded: the time is over, or will be when the server has said to come again.
            Unavailable: likewise.
        """
        now = self._clock()
        wait = reason.retry_after if isinstance(reason, PASSING) else 0.0
        said = "is busy" if isinstance(reason, PASSING) else "does not answer"
        text = f"{self._server} {said}: {str(reason) or type(reason).__name__}{self._advice(reason)}"
        if now >= self._until or now + wait > self._until:
            raise reason if isinstance(reason, PASSING) else Unreachable(text)
        if self._failing_since is None:
            self._failing_since = now
        left = self._until - now
        if not self._is_told and left > WORTH_TELLING and now - self._failing_since >= TELL_AFTER:
            self._is_told = True
            if self._last_told.is_due(now, left):
                log.warning("%s; waiting for it for up to %.0f s", text, left)
        pause, self._pause = self._pause, min(2 * self._pause, PAUSES[1])
        return max(pause, wait)


class RunPoll:
    """Polls a run until it ends. The server holds each response until then, so that the end is known at once.

    If the server responds at once (it is older, or too many requests wait), there are pauses between the polls. They
    start short, for runs that have nearly ended.

    Args:
        run: id of the run, for the error.
        timeout: seconds; None waits without limit.
        clock: a monotonic clock in seconds.

    Raises:
        InputError: the timeout is no number, or below 0.
    """

    def __init__(self, run: str, timeout: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        if timeout is not None and (not is_number(timeout) or timeout < 0):
            raise InputError(f"{timeout!r}", where="timeout", allowed="seconds, 0 or more, or None for no limit")
        self._run, self._timeout, self._clock = run, timeout, clock
        self._until = math.inf if timeout is None else clock() + timeout
        self._asked, self._held = clock(), 0.0
        self._pause = POLL_PAUSES[0]

    def hold(self) -> float:
        """Seconds that the server may hold the response of the poll that starts now."""
        self._asked = self._clock()
        self._held = max(0.0, min(HOLD, self._until - self._asked))
        return round(self._held, 3)

    def pause(self, state: str) -> float:
        """Seconds until the next poll.

        Args:
            state: state of the run, for the error.

        Raises:
            TimedOut: the timeout is over.
        """
        now = self._clock()
        if now >= self._until:
            raise TimedOut(f"run {self._run} is {state} after {self._timeout} s, and goes on; {GO_ON}")
        if now - self._asked > min(self._held / 2, POLL_PAUSES[1]):  # the server held the response
            self._pause = POLL_PAUSES[0]
            return 0.0
        pause, self._pause = self._pause, min(1.5 * self._pause, POLL_PAUSES[1])
        return min(pause, self._until - now)
