"""Cheap calls of one process in shared forward passes: what arrives while one is made goes into the next."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from acestep_flows.errors import FlowsError, StageError
from acestep_flows.graph.execution.runner import Call, Progress, Reply
from acestep_flows.runtime.batcher import Batcher
from acestep_flows.runtime.local import LocalRunner, item_of
from acestep_flows.stages.contract import Stage, Watch


@dataclass(eq=False)
class Passes(Watch):
    """Forward passes that were made for a stage, and how many items were in them."""

    passes: int = 0
    items: int = 0

    def passed(self, items: int) -> None:
        self.passes += 1
        self.items += items


@dataclass(eq=False)
class _Job:
    """A call that waits for its pass."""

    call: Call
    progress: Progress
    size: int
    loop: asyncio.AbstractEventLoop
    begun: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Batches:
    """Calls of stages that share forward passes. Belongs to one event loop.

    Args:
        runner: has the stages loaded; passes are made in its threads, so that they take turns with whatever else does.
        stages: those of the process; of them, the ones that share passes are taken.
        most: what the items of one list may count together (`Stage.size`); with 1 nothing is taken.

    Attributes:
        passes: by stage, of those that share; passes of calls not taken are for whoever makes them to tell.
    """

    def __init__(self, runner: LocalRunner, stages: Iterable[type[Stage]], most: int) -> None:
        self._runner = runner
        sharing = [stage.name for stage in stages if stage.shares]
        self.passes = {name: Passes() for name in sharing}
        self._batchers: dict[str, Batcher[_Job, Reply]] = {}
        for name in sharing if most > 1 else ():
            self._batchers[name] = Batcher(self._made, size=lambda job: job.size, max_size=most)

    def takes(self, stage: type[Stage]) -> bool:
        """Whether calls of `stage` are made here."""
        return stage.name in self._batchers

    async def call(self, call: Call, progress: Progress) -> Reply:
        """The reply. When cancelled, the call leaves the list it waits in, or else ends with the pass it is in.

        Raises:
            FlowsError: as the stage said, or StageError around any other exception.
        """
        try:
            size = call.stage.size(item_of(call))
        except Exception as error:
            raise StageError("", call.stage.name, error) from error
        job = _Job(call, progress, size, asyncio.get_running_loop())
        try:
            return await self._batchers[call.stage.name](job)
        except asyncio.CancelledError:
            if job.begun:
                await job.over.wait()
            raise

    async def close(self) -> None:
        """Stop after the passes in progress."""
        for batcher in self._batchers.values():
            await batcher.close()

    def _made(self, jobs: list[_Job]) -> list[Reply | Exception]:
        """In the batcher's thread; computed in the runner's."""
        return self._runner.work.submit(self._compute, jobs).result()

    def _compute(self, jobs: list[_Job]) -> list[Reply | Exception]:
        stage = jobs[0].call.stage
        for job in jobs:
            job.begun = True
            job.loop.call_soon_threadsafe(job.progress.started)
        try:
            made: list[Reply | FlowsError] = self._runner.together([job.call for job in jobs], self.passes[stage.name])
            return [*made]
        finally:
            for job in jobs:
                job.loop.call_soon_threadsafe(job.over.set)
