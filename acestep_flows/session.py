"""The in-process door: run plans in this process."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_flows.graph.execution.cache import Cache, Mode
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.graph.execution.result import Options, Result, ignore_event
from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.execution.timings import Timings

if TYPE_CHECKING:
    from acestep_flows.graph.execution.events import Event
    from acestep_flows.graph.planning.plan import Plan
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.placement import Placement


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Engine:
    """Where and how plans run in this process.

    Attributes:
        checkpoint: the weights.
        placement: device and precision.
        results: folder of the disk cache and of what is known about durations.
        mode: what the cache may do; `off` leaves the disk cache alone.
        deadline: seconds after which a run is stopped; None: never.
        model: what recipes call the weights.
    """

    checkpoint: Checkpoint
    placement: Placement
    results: Path
    mode: Mode = "use"
    deadline: float | None = None
    model: str = ""

    async def run(self, plan: Plan, on_event: Callable[[Event], None] = ignore_event) -> tuple[Result, dict[str, Any]]:
        """Run `plan`; the result, and the values of its outputs. Cancelling stops it at the next step boundary.

        Raises:
            FlowsError: as `run_plan` says.
        """
        with self.scheduler() as scheduler:
            result = await run_plan(scheduler, plan, Options(self.mode, self.deadline, on_event=on_event))
            return result, await scheduler.runner.fetch(dict(result.outputs))

    @contextlib.contextmanager
    def scheduler(self) -> Iterator[Scheduler]:
        """A scheduler over a local runner, both of which end with the context."""
        from acestep_flows.model.allocator import keep_freed_memory
        from acestep_flows.runtime.local import LocalRunner
        from acestep_flows.stages.registry import stages

        keep_freed_memory()
        store = DiskStore(self.results) if self.mode != "off" else None
        with LocalRunner(self.checkpoint, self.placement) as runner:
            yield Scheduler(stages(), runner, Cache(runner, store=store), Timings(self.results / "timings.json"))
