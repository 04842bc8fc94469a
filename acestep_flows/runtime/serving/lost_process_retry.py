"""Calls whose process dies: made again, and given up when the call itself is to blame.

Stages are pure, so a call may be made again. It is given up only when it keeps killing its process. When a process dies
with several calls, the loss counts against none of them, because any of them may be the cause. Each is quarantined in
its next attempt: it has the process to itself until it is past the step at which it was lost. If the process dies
again before that, the call is the cause.

A loss counts only until an attempt goes on from a later step than the attempts before it: then the process saved
states in between, and the call is making progress.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from acestep_flows.errors import LostProcess
from acestep_flows.graph.execution.runner import CallProgress
from acestep_flows.values import Latents

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

MAX_LOSSES_ALONE = 2
"""Losses with the process to itself after which a call is given up."""

MAX_LOSSES_STARTED = 3
"""Losses after the start, with no other call in the process, after which a call is given up."""

MAX_LOSSES_NOT_STARTED = 5
"""Losses before the start after which a call is given up: the process need not have died of it."""

MAX_LOSSES_SHARED = 1
"""Losses beside other calls after which a call is quarantined only for some steps. After one more, to its end."""

MAX_BLAME = 5
"""Blame at which a call is given up. Each loss adds as much as makes it reach this after its number of losses."""

TO_THE_END = sys.maxsize
"""More steps than any call has: a quarantine up to this step lasts as long as the call."""


class MakeCall(Protocol[R_co]):
    """Makes one attempt of a call."""

    async def __call__(self, progress: CallProgress, alone_until: int) -> R_co | None:
        """The reply, or None when the call stopped at step `alone_until`, its state saved.

        Args:
            alone_until: the step at which the call is to stop if it can; 0: it goes to its end.

        Raises:
            LostProcess: the process died.
        """


class LostProcessRetry:
    """Makes the calls of one process of a pool, and makes them again when the process dies.

    Args:
        replicas: how many processes there are at most. With several, Ray chooses the one that a call goes to, so that
            no call can be alone.
    """

    def __init__(self, replicas: int = 1) -> None:
        self._occupancy = Occupancy() if replicas == 1 else None

    async def call(self, make: MakeCall[R], progress: CallProgress) -> R:
        """The reply of the first attempt that outlives its process.

        Raises:
            LostProcess: the process died too often, see the limits of this module.
        """
        blame = Blame()
        while True:
            attempt = CallAttempt(progress)
            try:
                return await self._attempt(make, attempt, blame.alone_until)
            except LostProcess:
                blame.add(attempt)
                if blame.is_too_much:
                    raise

    async def _attempt(self, make: MakeCall[R], attempt: CallAttempt, alone_until: int) -> R:
        if self._occupancy is None:
            return await _whole(make, attempt)
        if alone_until:
            attempt.alone = True
            async with self._occupancy.visit(alone=True):
                reply = await make(attempt, alone_until)
            attempt.alone = False
            if reply is not None:
                return reply
        async with self._occupancy.visit() as visit:
            try:
                return await _whole(make, attempt)
            finally:
                attempt.shared = visit.shared


async def _whole(make: MakeCall[R], attempt: CallAttempt) -> R:
    reply = await make(attempt, 0)
    assert reply is not None, "only calls in quarantine stop on the way"
    return reply


class CallAttempt:
    """One attempt of a call. Passes progress on, and records what a loss has to be judged by.

    Attributes:
        alone: whether the call has the process to itself.
        shared: whether other calls were in the process beside it.
        has_started: whether the process said that the call works.
        first_step: the step that the attempt went on from; None if it reported none.
        last_step: the last step it reported.
    """

    def __init__(self, progress: CallProgress) -> None:
        self._progress = progress
        self.alone = self.shared = self.has_started = False
        self.first_step: int | None = None
        self.last_step = 0

    def started(self) -> None:
        if not self.has_started:  # an attempt of two parts starts twice
            self.has_started = True
            self._progress.started()

    def step(self, done: int, total: int) -> None:
        self.first_step = done if self.first_step is None else self.first_step
        self.last_step = done
        self._progress.step(done, total)

    def preview(self, done: int, total: int, latents: Latents) -> None:
        self._progress.preview(done, total, latents)


class Blame:
    """What the losses of one call say about it.

    Attributes:
        alone_until: the step until which the next attempt is to be alone; 0 before the first loss.
    """

    def __init__(self) -> None:
        self.alone_until = 0
        self._furthest_start = 0
        self._shared_losses = self._points = 0

    def add(self, attempt: CallAttempt) -> None:
        """Count a lost attempt."""
        if attempt.first_step is not None and attempt.first_step > self._furthest_start:
            self._furthest_start = attempt.first_step
            self._shared_losses = self._points = 0
        if attempt.shared:
            self._shared_losses += 1
        else:
            self._points += math.ceil(MAX_BLAME / _most_losses(attempt))
        to_the_end = self._shared_losses > MAX_LOSSES_SHARED
        self.alone_until = TO_THE_END if to_the_end else attempt.last_step + 1

    @property
    def is_too_much(self) -> bool:
        """Whether the call is to be given up."""
        return self._points >= MAX_BLAME


def _most_losses(attempt: CallAttempt) -> int:
    """How many losses like this one a call may have, the last one included."""
    if not attempt.has_started:
        return MAX_LOSSES_NOT_STARTED
    return MAX_LOSSES_ALONE if attempt.alone else MAX_LOSSES_STARTED


@dataclass(eq=False)
class Visit:
    """A call's time in the process.

    Attributes:
        alone: whether no other call may enter.
        shared: whether another call was inside at some time of the visit.
    """

    alone: bool
    shared: bool = False


class Occupancy:
    """The calls in one process: many at once, or one alone. Use it from one event loop."""

    def __init__(self) -> None:
        self._inside: set[Visit] = set()
        self._waiting_alone = 0
        self._waiting: list[asyncio.Future[None]] = []

    @asynccontextmanager
    async def visit(self, *, alone: bool = False) -> AsyncIterator[Visit]:
        """Wait until the call may enter, and be inside. Calls that want to be alone go before the others."""
        visit = Visit(alone)
        await self._wait(alone)
        for other in self._inside:
            other.shared = visit.shared = True
        self._inside.add(visit)
        try:
            yield visit
        finally:
            self._inside.discard(visit)
            self._wake()

    async def _wait(self, alone: bool) -> None:
        self._waiting_alone += alone
        try:
            while not self._may_enter(alone):
                turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.append(turn)
                await turn
        except asyncio.CancelledError:
            self._waiting_alone -= alone
            self._wake()  # others may have waited for this call
            raise
        self._waiting_alone -= alone

    def _may_enter(self, alone: bool) -> bool:
        if alone:
            return not self._inside
        return not self._waiting_alone and not any(visit.alone for visit in self._inside)

    def _wake(self) -> None:
        """Let all waiting calls check again, in order of arrival."""
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)
