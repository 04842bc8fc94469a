"""Single flight: one computation that several runs may wait for.

It lives as long as someone waits: a run that is cancelled leaves, and only when the last one has left is the work
itself cancelled. So two people asking for the same song pay once, and neither can take it from the other.

Its outputs may be given before it lands, while they are still being kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from acestep_flows.graph.content import Outputs
from acestep_flows.graph.execution.runner import CallProgress
from acestep_flows.values import Latents

T = TypeVar("T")


class CallListener(CallProgress, Protocol):
    """Who waits for a flight."""

    def given(self, outputs: Outputs) -> None:
        """The outputs, ahead of the end, which may still be an error: whoever uses them has to wait for it, too."""


class SharedComputation(Generic[T]):
    """A shared task; it is itself the `CallListener` that passes everything on to those who wait."""

    def __init__(self, work: Callable[[CallListener], Awaitable[T]]) -> None:
        self._listeners: list[CallListener] = []
        self._started = False
        self._last: tuple[int, int] | None = None
        self._given: Outputs | None = None
        self._task: asyncio.Task[T] = asyncio.ensure_future(self._fly(work))

    @property
    def open(self) -> bool:
        """Whether one may still join: it has neither landed nor been given up."""
        return bool(self._listeners) and not self._task.done()

    async def join(self, listener: CallListener) -> T:
        """Wait for the result, hearing of its progress; raises what the work raises."""
        self._listeners.append(listener)
        if self._started:
            listener.started()
        if self._last is not None:
            listener.step(*self._last)
        if self._given is not None:
            listener.given(self._given)
        try:
            return await asyncio.shield(self._task)
        finally:
            self._listeners.remove(listener)
            if not self._listeners and not self._task.done():
                await self._give_up()

    def started(self) -> None:
        self._started = True
        for listener in tuple(self._listeners):
            listener.started()

    def step(self, done: int, total: int) -> None:
        self._last = (done, total)
        for listener in tuple(self._listeners):
            listener.step(done, total)

    def preview(self, done: int, total: int, latents: Latents) -> None:
        for listener in tuple(self._listeners):
            listener.preview(done, total, latents)

    def given(self, outputs: Outputs) -> None:
        self._given = outputs
        for listener in tuple(self._listeners):
            listener.given(outputs)

    async def _fly(self, work: Callable[[CallListener], Awaitable[T]]) -> T:
        return await work(self)

    async def _give_up(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()  # Looked at, so that asyncio does not report it as lost.
