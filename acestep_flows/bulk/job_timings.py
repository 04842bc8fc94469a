"""How long stages take in the processes of bulk jobs on this machine, so that the next job can be estimated."""

from __future__ import annotations

from pathlib import Path

from acestep_flows.graph.execution.timings import Estimate, Timings
from acestep_flows.runtime.serving.pool import Pool

FILE = "bulk-timings.json"
SAVE_SECONDS = 5.0
"""Between two writes while a job goes on."""
OF_RUNS = "timings.json"
"""The file of single runs, beside it."""


class JobTimings(Timings):
    """Recorded calls of bulk jobs, kept apart from those of single runs, which have more of the machine to themselves.

    Calls count for processes with as many threads as theirs had. Where there are none, those of single runs count.

    Args:
        folder: of stored results, where single runs have their timings as well.
        pool: the processes.
    """

    def __init__(self, folder: Path, pool: Pool) -> None:
        super().__init__(folder / FILE, SAVE_SECONDS)
        self._pool = pool
        self._of_runs = Timings(folder / OF_RUNS)

    def record(
        self, stage: str, numerics: str, steps: object, seconds: float, nbytes: int, length: float | None = None
    ) -> None:
        super().record(stage, self._with_threads(stage, numerics), steps, seconds, nbytes, length)

    def estimate(self, stage: str, numerics: str, steps: object, length: float | None = None) -> Estimate | None:
        of_jobs = super().estimate(stage, self._with_threads(stage, numerics), steps, length)
        return of_jobs or self._of_runs.estimate(stage, numerics, steps, length)

    def _with_threads(self, stage: str, numerics: str) -> str:
        return f"{numerics} {self._pool.processes[self._pool.home_of[stage]].torch_threads} threads"
