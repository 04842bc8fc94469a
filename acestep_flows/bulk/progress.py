"""The progress of a job at one moment, as the live bar and the tracking show it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class JobProgress:
    """A job at one moment. Counts are of rows unless stated; a row that a gate had made again counts once.

    Attributes:
        rows: of this call, in all (a shard's rows where the job is split).
        done: audio written and result committed, by this call and by those before it.
        resumed: of these, by calls before this one (and duplicates by recipe, which need no rendering).
        failed: given up, in the dead-letter table.
        failed_before: of these, by calls before this one.
        refused: of these, by this call and before any song was tried, such as bad rows.
        attempts: songs rendered by this call, with retries and retakes.
        retaken: attempts that a quality gate asked for.
        audio_seconds: of the songs that this call made.
        elapsed: seconds since the call began.
        rendering: seconds since its first song began; 0 while processes start.
        busy: by leg, the share of its processes' time that they worked, 0..1.
        phase: reading (which rows are left), starting (processes), rendering, finishing or ended.
    """

    rows: int
    done: int = 0
    resumed: int = 0
    failed: int = 0
    failed_before: int = 0
    refused: int = 0
    attempts: int = 0
    retaken: int = 0
    audio_seconds: float = 0.0
    elapsed: float = 0.0
    rendering: float = 0.0
    busy: Mapping[str, float] = field(default_factory=dict)
    phase: str = "starting"

    @property
    def settled(self) -> int:
        """Rows that this call settled."""
        return self.done - self.resumed + self.failed - self.failed_before

    @property
    def rendered(self) -> int:
        """Rows that this call settled by rendering: what its speed is told by."""
        return self.settled - self.refused

    @property
    def left(self) -> int:
        """Rows still to come."""
        return max(0, self.rows - self.done - self.failed)

    @property
    def rows_per_hour(self) -> float:
        """Rows that this call renders in an hour."""
        return 3600 * self.rendered / self.rendering if self.rendering > 0 else 0.0

    @property
    def speed(self) -> float:
        """Seconds of audio per second of rendering."""
        return self.audio_seconds / self.rendering if self.rendering > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """An estimate; None before the first row has ended."""
        if self.left == 0:
            return 0.0
        return self.left * self.rendering / self.rendered if self.rendered > 0 and self.rendering > 0 else None


JobWatch = Callable[[JobProgress], None]
"""Called now and then (a few times a second at most) from the driver's thread; must return at once."""


def ignore_progress(progress: JobProgress) -> None:
    """The watch of a job that nobody watches."""
