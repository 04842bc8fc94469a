"""What all runs of one scheduler share: stages, runner, cache and timings. `run.run_plan` runs a plan over it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acestep_flows.errors import NotFound
from acestep_flows.graph.execution.cache import Cache
from acestep_flows.graph.execution.runner import Runner
from acestep_flows.graph.execution.timings import Timings
from acestep_flows.stages.contract import Stage


class Scheduler:
    """Stages, where they run, and the cache of their outputs. Runs over one scheduler find each other's work.

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

    def step_count(self, name: str, inputs: Mapping[str, Any]) -> int | None:
        """The steps that a stage takes with these inputs, as far as they tell; None for a stage without steps."""
        field = self.stage(name).Params.model_fields.get("steps")
        steps = None if field is None else inputs.get("steps", field.default)
        return steps if isinstance(steps, int) and steps > 0 else None
