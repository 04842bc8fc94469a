"""The step engine: songs in shared passes against one song at a time, on acestep-nano and a mid-size random checkpoint.

    python -m benchmarks.engine [--checkpoints nano middle] [--songs 6] [--steps 6] [--threads 2] [--lanes N]
                                [--out results.json]

Both ways run in one thread of one process and alternate, so that their ratio holds where the machine's speed drifts,
and torch keeps one team of threads. `together` is how many times faster the engine is. `one` is a single song in the
engine: the cost of the engine when nothing is shared. While there are several songs, the engine makes `--lanes` passes
at a time, by default as many as it is served with: one for each thread. One song at a time always has `--threads`.
`processes` is how many times faster as many processes as lanes are, of one thread each, that share nothing: they have
no interpreter's lock in common. `cores` is what they would reach if no core were slower while the others work: it takes
the time of one of these processes alone.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from acestep_flows.model.threads import limit_threads
from acestep_flows.runtime.engine import StepEngine
from acestep_flows.runtime.engine_stats import EngineStats
from acestep_flows.stages.diffusion import DenoisingSong
from benchmarks.engine_processes import SongProcesses, song_processes
from benchmarks.engine_songs import Songs, one_by_one
from benchmarks.machine import report
from benchmarks.weights import RANDOM, open_weights

CHECKPOINTS = ("nano", *RANDOM)


def in_the_engine(
    songs: Sequence[DenoisingSong], arguments: argparse.Namespace, worker: Executor
) -> tuple[float, EngineStats]:
    """Seconds to denoise the songs in the engine, and the engine's statistics."""

    async def run() -> tuple[float, EngineStats]:
        sizes = {"padding": arguments.padding, "lanes": arguments.lanes}
        async with StepEngine(arguments.tokens, len(songs), worker=worker, **sizes) as engine:
            started = time.perf_counter()
            await asyncio.gather(*(engine.run(song) for song in songs))
            return time.perf_counter() - started, engine.stats()

    return asyncio.run(run())


def compare(
    songs: Sequence[DenoisingSong], arguments: argparse.Namespace, apart_in_processes: Sequence[SongProcesses]
) -> dict[str, Any]:
    """Songs per second both ways (best round), and the speed-up of the engine (median over rounds).

    Args:
        apart_in_processes: none, or processes that make these songs, and one that makes the share of one of them.
    """
    with ThreadPoolExecutor(1, initializer=limit_threads, initargs=(torch, arguments.threads)) as worker:
        _, stats = in_the_engine(songs, arguments, worker)
        rounds = [
            (
                worker.submit(one_by_one, songs).result(),
                in_the_engine(songs, arguments, worker)[0],
                *(max(processes.seconds()) for processes in apart_in_processes),
            )
            for _ in range(arguments.rounds)
        ]
    apart, together, *_ = (min(column) for column in zip(*rounds, strict=True))
    faster = {
        name: round(statistics.median(times[0] / times[column] for times in rounds), 3)
        for column, name in enumerate(("together", "processes", "cores"), start=1)
        if column < len(rounds[0])
    }
    return {
        "songs": len(songs),
        "songs_per_second_apart": round(len(songs) / apart, 4),
        "songs_per_second_together": round(len(songs) / together, 4),
        "steps_per_second_together": round(stats.steps / together, 3),
        "mean_songs_per_turn": round(stats.steps / stats.turns, 2),
        **faster,
    }


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Every mix of lengths on one checkpoint."""
    songs = Songs(folder, arguments.device, arguments.dtype)
    mixes = {
        "one": [arguments.seconds],
        "alike": [arguments.seconds] * arguments.songs,
        "mixed": [arguments.seconds * (1, 0.5, 2, 1.2)[index % 4] for index in range(arguments.songs)],
    }
    found = {}
    for name, lengths in mixes.items():
        with ExitStack() as stack:
            processes = []
            if name == "alike" and arguments.device == "cpu":
                share = lengths[:: arguments.lanes]
                for count, theirs in ((arguments.lanes, lengths), (1, share)):
                    work = (count, folder, arguments.device, arguments.dtype, theirs, arguments.steps)
                    processes.append(stack.enter_context(song_processes(*work)))
            found[name] = compare(songs.make(lengths, arguments.steps), arguments, processes)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--checkpoints", nargs="+", choices=CHECKPOINTS, default=["nano", "middle"])
    parser.add_argument("--songs", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--padding", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lanes", type=int, help="default: as many as threads")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    arguments.lanes = arguments.lanes or arguments.threads
    results: dict[str, Any] = {"settings": vars(arguments)}
    for name in arguments.checkpoints:
        with open_weights(name) as folder:
            results[name] = measure(folder, arguments)
    report(results, arguments.out)


if __name__ == "__main__":
    main()
