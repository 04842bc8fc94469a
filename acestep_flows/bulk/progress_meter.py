"""Counts the rows of a job, and reports its progress a few times a second."""

from __future__ import annotations

import time
from collections.abc import Mapping

from acestep_flows.bulk.progress import JobProgress, JobWatch
from acestep_flows.bulk.results import JobOutcome, ResultRow
from acestep_flows.bulk.song_warnings import is_truncated
from acestep_flows.runtime.bulk.segment_actor import Busy

REPORT_SECONDS = 0.25
WINDOW_SECONDS = 5.0
"""Length of the window over which the busy share of processes is taken."""


class Meter:
    """The counts of one call of `run_job`.

    Args:
        rows: of this call.
        watch: called with the progress.
    """

    def __init__(self, rows: int, watch: JobWatch) -> None:
        self._rows, self._watch = rows, watch
        self._begun = time.monotonic()
        self._first: float | None = None
        self._reported = float("-inf")
        self._done = self._resumed = self._failed = self._attempts = self._retaken = 0
        self._rejected = self._duplicates = self._failed_before = self._warned = self._truncated = 0
        self._refused = 0
        self._is_begun = False
        self._audio = 0.0
        self._latest: dict[str, dict[str, float]] = {}
        self._replicas: Mapping[str, int] = {}
        self._marks: list[tuple[float, dict[str, float]]] = []

    def begin(self, replicas: Mapping[str, int]) -> None:
        """New processes start: `replicas` of each leg."""
        self._replicas, self._latest, self._marks = replicas, {}, []
        self._is_begun = True
        self.report(always=True)

    def resumed(self, *, given_up: bool) -> None:
        """A row that an earlier call settled."""
        self._failed += given_up
        self._failed_before += given_up
        self._done += not given_up
        self._resumed += not given_up
        self.report()

    def ended(self, row: ResultRow, *, settled: bool, refused: bool = False) -> None:
        """An attempt ended, or a row was settled without one; `refused`: given up before any song was tried."""
        self._refused += refused
        if row.status == "duplicate":
            self._duplicates += 1
            self._resumed += 1
            self._done += 1
        else:
            self._attempts += 1
            self._retaken += row.retake > 0
            if row.status == "done":
                self._done += 1
                self._warned += row.warnings is not None
                self._truncated += is_truncated(row.duration, row.duration_asked, row.sample_rate)
                self._audio += row.duration or 0.0
            elif settled:
                self._failed += 1
                self._rejected += row.status == "rejected"
        self.report()

    def worked(self, began: float, busy: tuple[Busy, ...]) -> None:
        """Note how long processes have worked; `began`: when a row was begun, in seconds since the epoch."""
        since = time.monotonic() - (time.time() - began)
        self._first = since if self._first is None else min(self._first, since)
        for load in busy:
            of_leg = self._latest.setdefault(load.leg, {})
            of_leg[load.process] = max(load.seconds, of_leg.get(load.process, 0.0))

    def report(self, phase: str | None = None, *, always: bool = False) -> None:
        """Call the watch, if it is time."""
        now = time.monotonic()
        if always or phase is not None or now - self._reported >= REPORT_SECONDS:
            self._reported = now
            self._watch(self.progress(phase))

    def progress(self, phase: str | None = None) -> JobProgress:
        """The progress at this moment."""
        now = time.monotonic()
        rendering = 0.0 if self._first is None else max(0.0, now - max(self._first, self._begun))
        return JobProgress(
            rows=self._rows,
            done=self._done,
            resumed=self._resumed,
            failed=self._failed,
            failed_before=self._failed_before,
            refused=self._refused,
            attempts=self._attempts,
            retaken=self._retaken,
            audio_seconds=self._audio,
            elapsed=now - self._begun,
            rendering=rendering,
            busy=self._shares(now),
            phase=phase or self._phase,
        )

    def outcome(self, *, interrupted: bool) -> JobOutcome:
        """The counts at the end."""
        progress = self.progress("ended")
        return JobOutcome(
            progress, self._rejected, self._duplicates, self._warned, self._truncated, interrupted=interrupted
        )

    @property
    def _phase(self) -> str:
        if self._first is not None:
            return "rendering"
        return "starting" if self._is_begun else "reading"

    def _shares(self, now: float) -> dict[str, float]:
        """By leg, the share of the last seconds that its processes worked."""
        sums = {leg: sum(parts.values()) for leg, parts in self._latest.items()}
        self._marks.append((now, sums))
        while len(self._marks) > 2 and now - self._marks[1][0] >= WINDOW_SECONDS:
            del self._marks[0]
        then, before = self._marks[0]
        if now - then < REPORT_SECONDS:
            return {}
        return {
            leg: min(1.0, (worked - before.get(leg, 0.0)) / (now - then) / max(1, self._replicas.get(leg, 1)))
            for leg, worked in sums.items()
        }
