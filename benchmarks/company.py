"""Songs in company: how far a song that shares forward passes is from the same song made alone, and where it grows.

    python -m benchmarks.company [--checkpoint nano|small|middle|DIR] [--songs 24] [--seconds 5 8 10 12] [--steps 27]
                                 [--threads 2] [--share-below N] [--out results.json]

Every song is made twice by the step engine of a served process: once while the engine has no other, once with all
others under way. Both are decoded and vocoded one by one, as a served process does on a processor. The result has the
largest differences of latents after each tenth of the steps, and of mels and samples at the end, and the ratio of each
song's power to that of its difference in decibels. `same` counts the songs that are equal bit for bit. `--share-below`
is the setting of the pool; without it songs of any length share.
"""

from __future__ import annotations

import argparse
import asyncio
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.placement import Placement
from acestep_flows.model.threads import limit_threads
from acestep_flows.runtime.engine import StepEngine
from acestep_flows.stages.decode_latents import DecodeLatents
from acestep_flows.stages.diffusion import DenoisingSong
from acestep_flows.stages.vocode import Vocode
from acestep_flows.values import Latents
from benchmarks.engine_songs import Songs
from benchmarks.machine import report
from benchmarks.weights import open_weights


def denoised(
    songs: Sequence[DenoisingSong], together: bool, threads: int, share_below: int | None
) -> list[list[Tensor]]:
    """The latents (8, 16, T) of every song after each of its steps."""
    latents: list[list[Tensor]] = [[] for _ in songs]

    async def run() -> None:
        with ThreadPoolExecutor(1, initializer=limit_threads, initargs=(torch, threads)) as worker:
            sizes = {"lanes": threads, "share_below": share_below}
            async with StepEngine(4096, len(songs), **sizes, worker=worker) as engine:
                runs = [
                    engine.run(song, on_step=lambda state, kept=kept: kept.append(state.latents.clone()))  # type: ignore[misc]
                    for song, kept in zip(songs, latents, strict=True)
                ]
                if together:
                    await asyncio.gather(*runs)
                else:
                    for one in runs:
                        await one

    asyncio.run(run())
    return latents


class Sound:
    """Latents to mel and samples."""

    def __init__(self, folder: Path, device: str) -> None:
        checkpoint, placement = Checkpoint.open(folder), Placement(device)
        self._decode, self._vocode = DecodeLatents(), Vocode()
        for stage in (self._decode, self._vocode):
            stage.load(checkpoint, placement)

    def of(self, latents: Tensor) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Log-mel (2, 128, 8 T) and samples (2, n)."""
        item = self._decode.In(Latents(latents.contiguous().numpy()))
        (decoded,) = self._decode.run([item], [self._decode.Params()])
        (vocoded,) = self._vocode.run([self._vocode.In(decoded.mel)], [self._vocode.Params()])
        return decoded.mel.log_mel, vocoded.audio.samples


def decibels(whole: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Power of `whole` over that of its difference from `other`."""
    difference = np.square(whole.astype(np.float64) - other).sum()
    return math.inf if difference == 0 else float(10 * np.log10(np.square(whole.astype(np.float64)).sum() / difference))


def compare(alone: Sequence[Sequence[Tensor]], company: Sequence[Sequence[Tensor]], sound: Sound) -> dict[str, Any]:
    """The largest differences over all songs, and the ratios of their samples."""
    growth: dict[int, float] = {}
    mels, samples, ratios = [], [], []
    for one, other in zip(alone, company, strict=True):
        for step in range(0, len(one), max(1, len(one) // 10)):
            growth[step + 1] = max(growth.get(step + 1, 0.0), float((one[step] - other[step]).abs().max()))
        (mel, played), (mel_too, played_too) = sound.of(one[-1]), sound.of(other[-1])
        mels.append(float(np.abs(mel - mel_too).max()))
        samples.append(float(np.abs(played - played_too).max()))
        ratios.append(decibels(played, played_too))
    return {
        "songs": len(alone),
        "same": sum(torch.equal(one[-1], other[-1]) for one, other in zip(alone, company, strict=True)),
        "latents_by_step": growth,
        "latents": max(float((one[-1] - other[-1]).abs().max()) for one, other in zip(alone, company, strict=True)),
        "mel": max(mels),
        "samples": max(samples),
        "decibels": {"worst": min(ratios), "median": float(np.median(ratios))},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--songs", type=int, default=24)
    parser.add_argument("--seconds", type=float, nargs="+", default=[5, 8, 10, 12])
    parser.add_argument("--steps", type=int, default=27)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--share-below", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    lengths = [arguments.seconds[index % len(arguments.seconds)] for index in range(arguments.songs)]
    with open_weights(arguments.checkpoint) as folder:
        songs = Songs(folder, arguments.device, "float32").make(lengths, arguments.steps)
        alone, company = (
            denoised(songs, together, arguments.threads, arguments.share_below) for together in (False, True)
        )
        results = compare(alone, company, Sound(folder, arguments.device))
    report({"settings": vars(arguments), **results}, arguments.out)


if __name__ == "__main__":
    main()
