"""The scheduler: runs checked plans over a runner, with the cache in between.

It outlives runs: what it holds (registry, runner, cache, timings) is shared by all of them, so that runs of one
process find each other's work. `Run` in `run.py` is one plan under way.
"""

from __future__ import annotations

from acestep_flows.graph.execution.result import NodeResult, Options, Result, unheard
from acestep_flows.graph.execution.run import Run
from acestep_flows.graph.execution.scheduler import Shared
from acestep_flows.graph.planning.plan import Plan

__all__ = ["NodeResult", "Options", "Result", "Scheduler", "unheard"]


class Scheduler(Shared):
    """Runs plans."""

    async def run(self, plan: Plan, options: Options | None = None) -> Result:
        """Run `plan` to its end; cancelling the coroutine cancels the run. For a run to hold on to, see `Run`.

        Raises:
            StageError: a stage failed (the first failure, unless the run keeps going).
            InputError: a value turned out unusable; its text names the node.
            DeadlineExceeded: the deadline passed.
        """
        return await Run(self, plan, options or Options()).result()
