"""How long the stages of rows took, noted where they are computed and sent to the driver with the rows."""

from __future__ import annotations

from typing import NamedTuple

from acestep_flows.graph.execution.timings import Timings


class TimedStage(NamedTuple):
    """A computed call, as `Timings.record` takes it."""

    stage: str
    numerics: str
    steps: object
    seconds: float
    nbytes: int
    length: float | None


class StageTimings(Timings):
    """Timings of one process, in memory, whose new records can be taken out."""

    def __init__(self) -> None:
        super().__init__()
        self._new: list[TimedStage] = []

    def record(
        self, stage: str, numerics: str, steps: object, seconds: float, nbytes: int, length: float | None = None
    ) -> None:
        super().record(stage, numerics, steps, seconds, nbytes, length)
        self._new.append(TimedStage(stage, numerics, steps, seconds, nbytes, length))

    def take(self) -> tuple[TimedStage, ...]:
        """What was recorded since the last call."""
        taken, self._new = self._new, []
        return tuple(taken)
