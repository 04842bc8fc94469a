"""How much slower the cores of a machine are while all of them work."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from acestep_flows.model.threads import limit_threads
from acestep_flows.sampling.loop import denoise
from acestep_flows.stages.diffusion import DenoisingSong
from benchmarks.engine_songs import Songs

STEPS = 8
PAIRS = 9
"""Comparisons, by turns, since a machine's speed drifts. Their median counts."""


def slower_in_company(folder: Path, cores: int, seconds: float) -> float:
    """How many times longer a song takes where each core makes one than where one core makes one.

    Args:
        folder: a checkpoint.
        cores: threads of this process that work at a time, with one thread of torch each.
        seconds: length of the songs.
    """
    songs = Songs(folder, "cpu", "float32").make([seconds] * cores, STEPS)
    with ThreadPoolExecutor(cores, initializer=limit_threads, initargs=(torch, 1)) as threads:

        def took(made: list[DenoisingSong]) -> float:
            began = time.perf_counter()
            work: list[Future[object]] = [threads.submit(denoise, song.trajectory, song.denoise) for song in made]
            for one in work:
                one.result()
            return time.perf_counter() - began

        took(songs)
        ratios = [took(songs) / took(songs[number % cores :][:1]) for number in range(PAIRS)]
    return max(1.0, statistics.median(ratios))
