"""How much slower the cores of a machine are while all of them work."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.engine_processes import SongProcesses, song_processes

STEPS = 16
PAIRS = 3
"""Comparisons at a time, by turns. A rented machine may give two cores for a while and two halves of one after it."""


class Company:
    """Compares a core that works alone with all cores that work.

    The songs are made by processes that share nothing, so that it is the cores that are compared: threads of one
    process wait for each other too.

    Args:
        processes: one for each core, with a song each.
    """

    def __init__(self, processes: SongProcesses) -> None:
        self._processes = processes

    def slower(self) -> float:
        """How many times longer a song takes now where each core makes one than where one core makes one."""
        pairs = [(self._processes.seconds(), self._processes.seconds(1)) for _ in range(PAIRS)]
        return statistics.mean(statistics.mean(all_work) / one_works[0] for all_work, one_works in pairs)


@contextmanager
def company(folder: Path, cores: int, seconds: float) -> Iterator[Company]:
    """A comparison with songs of this length.

    Args:
        folder: a checkpoint.
    """
    with song_processes(cores, folder, "cpu", "float32", [seconds] * cores, STEPS) as processes:
        yield Company(processes)
