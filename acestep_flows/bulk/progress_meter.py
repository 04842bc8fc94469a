"""How a job goes, counted: what the live bar and the tracking are told a few times a second."""

from __future__ import annotations

import time
from collections.abc import Mapping

from acestep_flows.bulk.progress import JobProgress, JobWatch
from acestep_flows.bulk.results import JobOutcome, ResultRow
from acestep_flows.runtime.bulk.segment_actor import Busy

TELL_SECONDS = 0.25
WINDOW_SECONDS = 5.0
"""Over as long the share of time is taken that processes work."""


class Meter:
    """Counts.

    Args:
        rows: of this call.
        watch: is told.
    """

    def __init__(self, rows: int, watch: JobWatch) -> None:
        self._rows, self._watch = rows, watch
        self._begun = time.monotonic()
        self._first: float | None = None
        self._told = float("-inf")
        self._done = self._resumed = self._failed = self._attempts = self._retaken = 0
        self._rejected = self._duplicates = self._failed_before = 0
        self._audio = 0.0
        self._latest: dict[str, dict[str, float]] = {}
        self._replicas: Mapping[str, int] = {}
        self._marks: list[tuple[float, dict[str, float]]] = []

    def begin(self, replicas: Mapping[str, int]) -> None:
        """Processes come up: so many for each leg."""
        self._replicas, self._latest, self._marks = replicas, {}, []
        self.tell(always=True)

    def resumed(self, *, given_up: bool) -> None:
        """A row that an earlier call settled."""
        self._failed += given_up
        self._failed_before += given_up
        self._done += not given_up
        self._resumed += not given_up
        self.tell()

    def ended(self, row: ResultRow, *, settled: bool) -> None:
        """An attempt ended, or a row was settled without one."""
        if row.status == "duplicate":
            self._duplicates += 1
            self._resumed += 1
            self._done += 1
        else:
            self._attempts += 1
            self._retaken += row.retake > 0
            if row.status == "done":
                self._done += 1
                self._audio += row.duration or 0.0
            elif settled:
                self._failed += 1
                self._rejected += row.status == "rejected"
        self.tell()

    def worked(self, began: float, busy: tuple[Busy, ...]) -> None:
        """Processes told how long they have worked; a row was taken up at `began`, in seconds since the epoch."""
        since = time.monotonic() - (time.time() - began)
        self._first = since if self._first is None else min(self._first, since)
        for one in busy:
            of_leg = self._latest.setdefault(one.leg, {})
            of_leg[one.process] = max(one.seconds, of_leg.get(one.process, 0.0))

    def tell(self, phase: str | None = None, *, always: bool = False) -> None:
        """Tell the watch, if it is time."""
        now = time.monotonic()
        if always or phase is not None or now - self._told >= TELL_SECONDS:
            self._told = now
            self._watch(self.progress(phase))

    def progress(self, phase: str | None = None) -> JobProgress:
        """By now."""
        now = time.monotonic()
        rendering = 0.0 if self._first is None else max(0.0, now - max(self._first, self._begun))
        return JobProgress(
            rows=self._rows,
            done=self._done,
            resumed=self._resumed,
            failed=self._failed,
            failed_before=self._failed_before,
            attempts=self._attempts,
            retaken=self._retaken,
            audio_seconds=self._audio,
            elapsed=now - self._begun,
            rendering=rendering,
            busy=self._shares(now),
            phase=phase or ("starting" if self._first is None else "rendering"),
        )

    def outcome(self, *, interrupted: bool) -> JobOutcome:
        """At the end."""
        return JobOutcome(self.progress("ended"), self._rejected, self._duplicates, interrupted)

    def _shares(self, now: float) -> dict[str, float]:
        """The share of the last seconds that the processes of each leg worked."""
        sums = {leg: sum(parts.values()) for leg, parts in self._latest.items()}
        self._marks.append((now, sums))
        while len(self._marks) > 2 and now - self._marks[1][0] >= WINDOW_SECONDS:
            del self._marks[0]
        then, before = self._marks[0]
        if now - then < TELL_SECONDS:
            return {}
        return {
            leg: min(1.0, (worked - before.get(leg, 0.0)) / (now - then) / max(1, self._replicas.get(leg, 1)))
            for leg, worked in sums.items()
        }
