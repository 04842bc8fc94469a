"""The scheduler of a session: all stages in this process, with results stored in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from acestep_flows.graph.execution.cache import Cache
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.execution.timings import Timings
from acestep_flows.stages.registry import stages

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.placement import Placement


def local_scheduler(checkpoint: Checkpoint, placement: Placement, results: Path) -> Scheduler:
    """A scheduler whose runner holds the weights of `checkpoint`, and whose results and timings lie in `results`."""
    from acestep_flows.model.allocator import keep_freed_memory
    from acestep_flows.runtime.local import LocalRunner

    keep_freed_memory()
    runner = LocalRunner(checkpoint, placement, keep_freed=False)  # the networks of a song work one after the other
    cache = Cache(runner, store=DiskStore(results))
    return Scheduler(stages(), runner, cache, Timings(results / "timings.json"))
