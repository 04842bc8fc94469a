"""One computation that several runs may wait for.

It lives as long as someone waits. A run that is cancelled leaves it, and only when the last one has left is the
computation itself cancelled. So two runs that need the same song compute it once, and neither can take it from the
other. Its outputs are passed on as soon as they exist, while they are still being stored.
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
    """Who waits for a computation."""

    def outputs_ready(self, outputs: Outputs) -> None:
        """The outputs exist. The computation may still fail, so whoever uses them has to wait for its end, too."""


class SharedComputation(Generic[T]):
    """A task that several listeners wait for. It is itself the `CallListener` that passes progress on to them."""

    def __init__(self, work: Callable[[CallListener], Awaitable[T]]) -> None:
        self._listeners: list[CallListener] = []
        self._has_started = False
        self._last_step: tuple[int, int] | None = None
        self._outputs: Outputs | None = None
        self._task: asyncio.Task[T] = asyncio.ensure_future(self._run(work))

    @property
    def open(self) -> bool:
        """Whether another listener may join: the task has neither ended nor been cancelled."""
        return bool(self._listeners) and not self._task.done()

    async def join(self, listener: CallListener) -> T:
        """Wait for the result, with the progress made so far and from now on; raises what the work raises."""
        self._listeners.append(listener)
        if self._has_started:
            listener.started()
        if self._last_step is not None:
            listener.step(*self._last_step)
        if self._outputs is not None:
            listener.outputs_ready(self._outputs)
        try:
            return await asyncio.shield(self._task)
        finally:
            self._listeners.remove(listener)
            if not self._listeners and not self._task.done():
                await self._cancel()

    def started(self) -> None:
        self._has_started = True
        for listener in tuple(self._listeners):
            listener.started()

    def step(self, done: int, total: int) -> None:
        self._last_step = (done, total)
        for listener in tuple(self._listeners):
            listener.step(done, total)

    def preview(self, done: int, total: int, latents: Latents) -> None:
        for listener in tuple(self._listeners):
            listener.preview(done, total, latents)

    def outputs_ready(self, outputs: Outputs) -> None:
        self._outputs = outputs
        for listener in tuple(self._listeners):
            listener.outputs_ready(outputs)

    async def _run(self, work: Callable[[CallListener], Awaitable[T]]) -> T:
        return await work(self)

    async def _cancel(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()  # looked at, so that asyncio does not report it as lost
