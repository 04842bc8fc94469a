"""The step engine: songs in shared passes against one song at a time, on acestep-nano and a mid-size random checkpoint.

    python -m benchmarks.engine [--checkpoints nano middle] [--songs 6] [--steps 6] [--threads 2] [--lanes N]
                                [--out results.json]

Both ways run in one thread of one process and alternate, so that their ratio holds where the machine's speed drifts,
and torch keeps one team of threads. `together` is how many times faster the engine is. `one` is a single song in the
engine: the cost of the engine when nothing is shared. While there are several songs, the engine makes `--lanes` passes
at a time, by default as many as it is served with: one for each thread. One song at a time always has `--threads`.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.placement import Placement
from acestep_flows.model.threads import limit_threads
from acestep_flows.runtime.engine import StepEngine
from acestep_flows.runtime.engine_stats import EngineStats
from acestep_flows.sampling.loop import denoise
from acestep_flows.stages.diffusion import DenoisingSong
from acestep_flows.stages.encode_lyrics import EncodeLyrics
from acestep_flows.stages.encode_prompt import EncodePrompt
from acestep_flows.stages.init_noise import InitNoise
from acestep_flows.stages.sample import Sample
from benchmarks.machine import report
from benchmarks.weights import RANDOM, open_weights

CHECKPOINTS = ("nano", *RANDOM)
LYRICS = "[verse]\nNeon lights they flicker bright\nCity hums in dead of night\n[chorus]\nTurn it up and let it flow\n"


class Songs:
    """Makes songs on one checkpoint. They have the same words and different seeds."""

    def __init__(self, folder: Path, device: str, dtype: Any) -> None:
        checkpoint, placement = Checkpoint.open(folder), Placement(device, dtype)
        prompts, lyrics, self.noise, self.sample = EncodePrompt(), EncodeLyrics(), InitNoise(), Sample()
        for stage in (prompts, lyrics, self.sample):
            stage.load(checkpoint, placement)
        self.prompt = prompts.run([prompts.In()], [prompts.Params(tags="funk, pop, energetic, 105 BPM")])[0].prompt
        self.lyrics = lyrics.run([lyrics.In()], [lyrics.Params(lyrics=LYRICS)])[0].lyrics

    def make(self, lengths: Sequence[float], steps: int) -> list[DenoisingSong]:
        return [self._song(seed, seconds, steps) for seed, seconds in enumerate(lengths)]

    def _song(self, seed: int, seconds: float, steps: int) -> DenoisingSong:
        (drawn,) = self.noise.run([self.noise.In()], [self.noise.Params(seed=seed, duration=seconds)])
        item = Sample.In(self.prompt, self.lyrics, drawn.noise)
        return self.sample.song(item, Sample.Params(steps=steps))


def one_by_one(songs: Sequence[DenoisingSong]) -> float:
    """Seconds to denoise the songs one at a time."""
    started = time.perf_counter()
    for song in songs:
        denoise(song.trajectory, song.denoise)
    return time.perf_counter() - started


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


def compare(songs: Sequence[DenoisingSong], arguments: argparse.Namespace) -> dict[str, Any]:
    """Songs per second both ways (best round), and the speed-up of the engine (median over rounds)."""
    with ThreadPoolExecutor(1, initializer=limit_threads, initargs=(torch, arguments.threads)) as worker:
        _, stats = in_the_engine(songs, arguments, worker)
        pairs = [
            (worker.submit(one_by_one, songs).result(), in_the_engine(songs, arguments, worker)[0])
            for _ in range(arguments.rounds)
        ]
    apart, together = (min(column) for column in zip(*pairs, strict=True))
    return {
        "songs": len(songs),
        "songs_per_second_apart": round(len(songs) / apart, 4),
        "songs_per_second_together": round(len(songs) / together, 4),
        "steps_per_second_together": round(stats.steps / together, 3),
        "mean_songs_per_turn": round(stats.steps / stats.turns, 2),
        "together": round(statistics.median(a / b for a, b in pairs), 3),
    }


def measure(songs: Songs, arguments: argparse.Namespace) -> dict[str, Any]:
    """Every mix of lengths on one checkpoint."""
    mixes = {
        "one": [arguments.seconds],
        "alike": [arguments.seconds] * arguments.songs,
        "mixed": [arguments.seconds * (1, 0.5, 2, 1.2)[index % 4] for index in range(arguments.songs)],
    }
    return {name: compare(songs.make(lengths, arguments.steps), arguments) for name, lengths in mixes.items()}


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
            results[name] = measure(Songs(folder, arguments.device, arguments.dtype), arguments)
    report(results, arguments.out)


if __name__ == "__main__":
    main()
