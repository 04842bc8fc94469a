"""How long stages took before, so that a dry run can estimate how long a run will take.

A small JSON file beside the cache, written by rename. Processes that write at the same time may lose a few records of
each other, never the file. Only estimates depend on it.
"""

from __future__ import annotations

import json
import logging
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from acestep_flows import storage
from acestep_flows.errors import StorageError
from acestep_flows.graph.execution.song_length import SHORTEST_TIMED, share_of_length

log = logging.getLogger(__name__)

SCHEMA = 1
KEPT = 15
"""Number of latest calls kept per stage, numerics policy and step count; estimates are their median."""


@dataclass(frozen=True)
class TimedCall:
    """A call that was computed.

    Attributes:
        seconds: that it worked.
        nbytes: of its outputs.
        length: seconds of the music that it made or read; None where there was none, or nobody noted it.
    """

    seconds: float
    nbytes: int
    length: float | None = None

    def of_length(self, length: float) -> TimedCall:
        """What the call would have been for `length` seconds of music, in proportion."""
        if self.length is None or self.length < SHORTEST_TIMED:
            return self
        seconds = self.seconds * share_of_length(length, self.length)
        return TimedCall(seconds, round(self.nbytes * length / self.length), length)


@dataclass(frozen=True)
class Estimate:
    """Seconds a call takes and bytes its outputs take, by what was seen before."""

    seconds: float
    nbytes: int


class Timings:
    """Recorded calls.

    Args:
        path: of their file; None keeps them in memory only.
        every: seconds between two writes after runs that others follow. A write waits for the disk.
    """

    def __init__(self, path: Path | None = None, every: float = 0.0) -> None:
        self._path, self._every = path, every
        self._calls: dict[str, list[TimedCall]] = {}
        self._peaks: dict[str, int] = {}
        self._changed, self._saved = False, float("-inf")
        self._read()

    def record(
        self, stage: str, numerics: str, steps: object, seconds: float, nbytes: int, length: float | None = None
    ) -> None:
        """Record one computed call: the seconds it worked, the bytes of its outputs, the seconds of its music."""
        calls = self._calls.setdefault(_name(stage, numerics, steps), [])
        calls.append(TimedCall(seconds, nbytes, None if length is None else round(length, 3)))
        del calls[:-KEPT]
        self._changed = True

    def estimate(self, stage: str, numerics: str, steps: object, length: float | None = None) -> Estimate | None:
        """The median of the latest calls, or None without any.

        Args:
            length: seconds of music that the call is for. What calls took is scaled to it, and calls whose length was
                not noted count only where no other is known. None: calls count as they were.
        """
        calls = self._calls.get(_name(stage, numerics, steps))
        if not calls:
            return None
        if length is not None:
            calls = [call.of_length(length) for call in calls if call.length is not None] or calls
        seconds, sizes = [call.seconds for call in calls], [call.nbytes for call in calls]
        return Estimate(statistics.median(seconds), int(statistics.median(sizes)))

    def record_peak(self, graph: str, nbytes: int) -> None:
        """Record the peak resident memory of the process after a run of `graph`.

        It is an upper bound: other graphs may have run in the process before.
        """
        self._changed |= self._peaks.get(graph) != nbytes
        self._peaks[graph] = nbytes

    def peak(self, graph: str) -> int | None:
        """The recorded peak memory of `graph`, or None."""
        return self._peaks.get(graph)

    def save(self) -> None:
        """Write the file if there is something new. A folder that cannot be written is logged and otherwise ignored."""
        if self._path is None or not self._changed:
            return
        self._changed, self._saved = False, time.monotonic()
        calls = {name: [_row(call) for call in calls] for name, calls in self._calls.items()}
        content = json.dumps({"schema": SCHEMA, "calls": calls, "peaks": self._peaks}, separators=(",", ":"))
        try:
            storage.write(self._path, content.encode())
        except StorageError as error:
            log.warning("timings: %s", error)

    def save_between(self) -> None:
        """As `save`, after a run that others follow; at most every `every` seconds."""
        if time.monotonic() - self._saved >= self._every:
            self.save()

    def _read(self) -> None:
        if self._path is None:
            return
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            if content["schema"] == SCHEMA:
                self._calls = {name: [_call(*row) for row in calls][-KEPT:] for name, calls in content["calls"].items()}
                self._peaks = {name: int(peak) for name, peak in content["peaks"].items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s: timings are not readable and start anew: %s", self._path, error)


def _row(call: TimedCall) -> list[float]:
    """A call as it stands in the file; 0.1.0 wrote no length."""
    return [call.seconds, call.nbytes] if call.length is None else [call.seconds, call.nbytes, call.length]


def _call(seconds: float, nbytes: int, length: float | None = None) -> TimedCall:
    return TimedCall(float(seconds), int(nbytes), None if length is None else float(length))


def _name(stage: str, numerics: str, steps: object) -> str:
    return f"{stage} {numerics}" if steps is None else f"{stage} {numerics} {steps} steps"
