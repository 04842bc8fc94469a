"""What all runs of one scheduler share, so that they find each other's work."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace

from acestep_flows.errors import LostProcess, NotFound
from acestep_flows.graph.execution.cache import Cache
from acestep_flows.graph.execution.runner import CallProgress, Reply, Runner
from acestep_flows.graph.execution.timings import Timings
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.stages.contract import Stage
from acestep_flows.values import Latents

RETRIES = 2
"""How often a call is made again after its process was lost, with nothing won. Nothing else is retried: stages are
pure."""


class Scheduler:
    """Stages, the place where they run, and what is kept of their work.

    Args:
        stages: the registry, by name.
        runner: where stages run.
        cache: over the same runner; by default one in memory.
        timings: where computed calls are recorded.
    """

    def __init__(
        self,
        stages: Mapping[str, type[Stage]],
        runner: Runner,
        cache: Cache | None = None,
        timings: Timings | None = None,
    ) -> None:
        self.stages, self.runner = stages, runner
        self.cache = cache if cache is not None else Cache(runner)
        self.timings = timings if timings is not None else Timings()

    def stage(self, name: str) -> type[Stage]:
        """The stage called `name`; raises NotFound."""
        if name not in self.stages:
            raise NotFound(f"no stage {name!r}; there are {', '.join(sorted(self.stages))}")
        return self.stages[name]

    async def compute(self, call: StageCall, progress: CallProgress) -> Reply:
        """Make the call, again where the process was lost on the way.

        A loss counts when the call was alone in the process, and only until it goes on from further than before.
        """
        heard, losses = _Heard(progress), _Losses()
        while True:
            heard.begin()
            try:
                return await self.runner.call(call, heard)
            except LostProcess as error:
                losses.add(error, heard)
                if losses.too_many:
                    raise
                call = replace(call, alone=losses.alone)


class _Heard:
    """Passes progress on, and notes of one attempt where it began and how far it came."""

    def __init__(self, progress: CallProgress) -> None:
        self._progress = progress
        self.begin()

    def begin(self) -> None:
        self.has_started = False
        self.first: int | None = None
        self.last = 0

    def started(self) -> None:
        self.has_started = True
        self._progress.started()

    def step(self, done: int, total: int) -> None:
        self.first = done if self.first is None else self.first
        self.last = done
        self._progress.step(done, total)

    def preview(self, done: int, total: int, latents: Latents) -> None:
        self._progress.preview(done, total, latents)


class _Losses:
    """What the losses of one call say about it.

    Attributes:
        alone: the step up to which it is to be alone next.
    """

    def __init__(self) -> None:
        self._begun = 0
        self._shared, self._weight = 0, 0
        self.alone = 0

    def add(self, error: LostProcess, heard: _Heard) -> None:
        if heard.first is not None and heard.first > self._begun:
            self._begun, self._shared, self._weight = heard.first, 0, 0
        if error.shared:
            self._shared += 1
        else:
            # A call that was not heard to start need not have been what the process died of, one that was alone has to.
            self._weight += 1 if not heard.has_started else 3 if error.alone else 2
        self.alone = heard.last + 1 if self._shared < 2 else sys.maxsize

    @property
    def too_many(self) -> bool:
        return self._weight > 2 * RETRIES
