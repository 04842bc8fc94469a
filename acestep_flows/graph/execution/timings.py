"""How long stages took before, so that a dry run can estimate how long a run will take.

A small JSON file beside the cache, written by rename. Processes that write at the same time may lose a few records of
each other, never the file. Only estimates depend on it.
"""

from __future__ import annotations

import json
import logging
import statistics
from dataclasses import dataclass
from pathlib import Path

from acestep_flows import storage
from acestep_flows.errors import StorageError

log = logging.getLogger(__name__)

SCHEMA = 1
KEPT = 15
"""Number of latest calls kept per stage, numerics policy and step count; estimates are their median."""


@dataclass(frozen=True)
class Estimate:
    """Seconds a call takes and bytes its outputs take, by what was seen before."""

    seconds: float
    nbytes: int


class Timings:
    """Recorded calls; `path` None keeps them in memory only."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._calls: dict[str, list[tuple[float, int]]] = {}
        self._peaks: dict[str, int] = {}
        self._read()

    def record(self, stage: str, numerics: str, steps: object, seconds: float, nbytes: int) -> None:
        """Record one computed call: the seconds it worked, and the bytes of its outputs."""
        calls = self._calls.setdefault(_name(stage, numerics, steps), [])
        calls.append((seconds, nbytes))
        del calls[:-KEPT]

    def estimate(self, stage: str, numerics: str, steps: object) -> Estimate | None:
        """The median of the latest calls, or None without any."""
        calls = self._calls.get(_name(stage, numerics, steps))
        if not calls:
            return None
        return Estimate(statistics.median(call[0] for call in calls), int(statistics.median(call[1] for call in calls)))

    def record_peak(self, graph: str, nbytes: int) -> None:
        """Record the peak resident memory of the process after a run of `graph`.

        It is an upper bound: other graphs may have run in the process before.
        """
        self._peaks[graph] = nbytes

    def peak(self, graph: str) -> int | None:
        """The recorded peak memory of `graph`, or None."""
        return self._peaks.get(graph)

    def save(self) -> None:
        """Write the file. A folder that cannot be written is logged and otherwise ignored."""
        if self._path is None:
            return
        content = json.dumps({"schema": SCHEMA, "calls": self._calls, "peaks": self._peaks}, separators=(",", ":"))
        try:
            storage.write(self._path, content.encode())
        except StorageError as error:
            log.warning("timings: %s", error)

    def _read(self) -> None:
        if self._path is None:
            return
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            if content["schema"] == SCHEMA:
                self._calls = {
                    name: [(float(seconds), int(size)) for seconds, size in calls][-KEPT:]
                    for name, calls in content["calls"].items()
                }
                self._peaks = {name: int(peak) for name, peak in content["peaks"].items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s: timings are not readable and start anew: %s", self._path, error)


def _name(stage: str, numerics: str, steps: object) -> str:
    return f"{stage} {numerics}" if steps is None else f"{stage} {numerics} {steps} steps"
