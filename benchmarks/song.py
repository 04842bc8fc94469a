"""A 30 second song, stage by stage, against the plain implementations of `plain.py`.

    python -m benchmarks.song [--steps 27 60] [--threads 2] [--seconds 30] [--samples 3] [--out results.json]

It makes a mid-size random checkpoint (24 blocks of 8 heads x 64). Both implementations alternate in one process with
the same weights and threads, so that their ratio holds where the machine's speed drifts. Seconds are medians of
several samples: the first sample of a process is slower by up to a third.

`plain` is not the original: it is the same work written straightforwardly. The original was measured once, with the
same sizes on another day; `original` has those seconds, and no ratio of this run is made with them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from acestep_flows.model.allocator import keep_freed_memory
from acestep_flows.model.autoencoder import Autoencoder
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.config import TransformerConfig
from acestep_flows.model.placement import Dtype, Placement
from acestep_flows.model.transformer import Transformer
from acestep_flows.model.vocoder import load_vocoder
from acestep_flows.sampling.branches import Branches, song_branches
from acestep_flows.sampling.denoiser import DenoiserRow, TransformerDenoiser, encode_conditions, predict_velocities
from acestep_flows.sampling.loop import denoise
from acestep_flows.sampling.noise import SeededDraws, start_noise
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.row_batching import RowBatcher
from acestep_flows.sampling.text2music import text2music
from acestep_flows.sampling.trajectory import Query
from acestep_flows.stages.diffusion import shared_networks
from acestep_flows.stages.encode_lyrics import EncodeLyrics
from acestep_flows.stages.encode_prompt import EncodePrompt
from acestep_flows.stages.init_noise import InitNoise
from acestep_flows.testing.random_checkpoint import MIDDLE, write_random_checkpoint
from acestep_flows.values import frames_from_seconds
from benchmarks.machine import best, matmul_rate, report
from benchmarks.plain import PlainDenoiser, PlainVocoder, plain_transformer

TAGS = "funk, pop, soul, melodic, 105 BPM, female vocals, bass, drums, energetic, upbeat"
LYRICS = """[verse]
Neon lights they flicker bright
City hums in dead of night
Rhythms pulse through concrete veins
Lost in echoes of refrains

[chorus]
Turn it up and let it flow
Feel the fire let it grow
In this rhythm we belong
Hear the night sing out our song
"""

ORIGINAL = {
    "machine": "two cores with AVX-512 and bf16 of an AMD server processor, torch 2.13, nothing else running",
    "song": "30 s, the same random weights, guidance 15, apg, euler, two threads, float32",
    "27_steps": {"diffusion": (16.8, 14.9), "autoencoder": (1.2, 1.1), "vocoder": (5.6, 4.5), "all": (24.0, 20.9)},
    "60_steps": {"all": (39.2,)},
    "this_package_then": {"27_steps": {"diffusion": (14.8, 14.5), "all": (17.3, 16.7)}, "60_steps": {"all": (34.1,)}},
}
"""Seconds of ACE-Step v1 itself, of each round, and of this package by turns with it before products were packed."""


class Bench:
    """One checkpoint on one placement, and the conditions of the song."""

    def __init__(self, checkpoint: Checkpoint, dtype: Dtype, seconds: float) -> None:
        self.checkpoint, self.placement = checkpoint, Placement(dtype=dtype)
        self.networks = shared_networks(checkpoint, self.placement)
        prompts, lyrics = EncodePrompt(), EncodeLyrics()
        for stage in (prompts, lyrics):
            stage.load(checkpoint, self.placement)
        self._encode_prompt = lambda: prompts.run([prompts.In()], [prompts.Params(tags=TAGS)])[0].prompt
        self._encode_lyrics = lambda: lyrics.run([lyrics.In()], [lyrics.Params(lyrics=LYRICS)])[0].lyrics
        noise = InitNoise()
        (drawn,) = noise.run([noise.In()], [noise.Params(seed=7, duration=seconds)])
        self.noise = drawn.noise

    def branches(self) -> Branches:
        """Encode the conditions."""
        return song_branches(self._encode_prompt(), self._encode_lyrics(), SamplerOptions())

    def trajectory(self, steps: int) -> Any:
        return text2music(start_noise(self.noise), SamplerOptions(steps=steps), SeededDraws.following(self.noise))

    def diffuse(self, steps: int) -> np.ndarray[Any, Any]:
        """Latents by the product's implementation, with encoding of the conditions."""
        memories = encode_conditions(self.networks.transformer, self.networks.projector, self.branches())
        denoiser = TransformerDenoiser(self.networks.transformer, memories)
        return denoise(self.trajectory(steps), denoiser, batcher=RowBatcher.on("cpu")).latents.numpy()

    @cached_property
    def plain(self) -> Transformer:
        """The transformer of the plain implementation. What makes songs may have given up its plain weights."""
        return plain_transformer(Transformer.load(self.checkpoint, self.placement))

    def diffuse_plainly(self, steps: int) -> np.ndarray[Any, Any]:
        """Latents by the plain implementation."""
        denoiser = PlainDenoiser(self.plain, self.networks.projector, self.branches)
        return denoise(self.trajectory(steps), denoiser).latents.numpy()


def timed(samples: int, *works: Callable[[], Any]) -> list[tuple[float, Any]]:
    """Run all works by turns: the median of each one's seconds, and its last result."""
    seconds: list[list[float]] = [[] for _ in works]
    results: list[Any] = [None] * len(works)
    for _ in range(samples):
        for index, work in enumerate(works):
            started = time.perf_counter()
            results[index] = work()
            seconds[index].append(time.perf_counter() - started)
    return [(median(spent), result) for spent, result in zip(seconds, results, strict=True)]


def operations(config: TransformerConfig, frames: int, tokens: int) -> int:
    """Floating point operations of one denoiser row: two (multiply and add) for each product."""
    width, head, hidden = config.width, config.attention_head_dim, config.feed_forward_width
    patch = frames * (128 * 2048 + 2048 * width + width * 128)
    attention = frames * (6 * width**2 + 2 * width * (head + 1)) + 2 * frames * tokens * width
    feed_forward = frames * (3 * width * hidden + 2 * hidden * 3)
    return 2 * (patch + config.num_layers * (attention + feed_forward))


def denoiser(bench: Bench, rows: int) -> dict[str, float]:
    """One forward pass of `rows` branches: seconds, and its rate as a share of the best that products reach."""
    memories = encode_conditions(bench.networks.transformer, bench.networks.projector, bench.branches())
    tokens = memories["conditional"].blocks[0][0].shape[1]
    call = Query(torch.tensor(bench.noise.array), 700.0, "conditional")
    batch = [DenoiserRow(call, memories["conditional"])] * rows
    dtype = bench.placement.dtype
    rates, seconds = [], []
    for _ in range(5):  # alternate, as the machine's speed drifts
        rates.append(matmul_rate(dtype=dtype))
        seconds.append(best(lambda: predict_velocities(bench.networks.transformer, batch), runs=3))
    work = rows * operations(bench.networks.transformer.config, bench.noise.frames, tokens)
    shares = sorted(work / spent / rate for spent, rate in zip(seconds, rates, strict=True))
    return {
        "seconds": min(seconds),
        "gflop": work / 1e9,
        "gflop_per_second": work / min(seconds) / 1e9,
        "matmul_gflop_per_second": max(rates) / 1e9,
        "share_of_matmul": shares[len(shares) // 2],
    }


def song(bench: Bench, steps: int, samples: int, plain: bool) -> dict[str, Any]:
    """Seconds of diffusion, autoencoder and vocoder, ours and plain, and the difference of the results."""
    checkpoint, placement = bench.checkpoint, bench.placement
    autoencoder, vocoder = Autoencoder.load(checkpoint, placement, ["decoder"]), load_vocoder(checkpoint, placement)
    bench.diffuse(1)
    diffusions = [lambda: bench.diffuse(steps)] + ([lambda: bench.diffuse_plainly(steps)] if plain else [])
    (ours, latents), *plain_diffusions = timed(samples, *diffusions)
    ((decoding, mel),) = timed(samples, lambda: autoencoder.decode(latents))
    vocoder.decode(mel[..., :64])
    results: dict[str, Any] = {"latents": latents}
    if not plain:
        ((vocoding, _),) = timed(samples, lambda: vocoder.decode(mel))
    else:
        names = [name for name in checkpoint.shapes("music_vocoder") if not name.startswith("mel_transform.")]
        plain_vocoder = PlainVocoder(checkpoint.config("music_vocoder"), checkpoint.load("music_vocoder", names))
        plain_vocoder(torch.from_numpy(mel[..., :64]))
        vocoders = (lambda: vocoder.decode(mel)), (lambda: plain_vocoder(torch.from_numpy(mel)).numpy())
        (vocoding, waveform), (plain_vocoding, plain_waveform) = timed(samples, *vocoders)
        ((plain_diffusion, plain_latents),) = plain_diffusions
        plain_all = plain_diffusion + decoding + plain_vocoding
        results["plain"] = {"diffusion": plain_diffusion, "vocoder": plain_vocoding, "all": plain_all}
        results["ratio"] = {
            "diffusion": plain_diffusion / ours,
            "vocoder": plain_vocoding / vocoding,
            "all": plain_all / (ours + decoding + vocoding),
        }
        results["difference"] = {
            "latents": float(np.abs(latents - plain_latents).max()),
            "waveform": float(np.abs(waveform - plain_waveform).max()),
        }
    results["ours"] = {
        "diffusion": ours,
        "autoencoder": decoding,
        "vocoder": vocoding,
        "all": ours + decoding + vocoding,
    }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a song stage by stage, ours and the plain way.")
    parser.add_argument("--steps", type=int, nargs="+", default=[27, 60])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--samples", type=int, default=3, help="of each time, by turns; their median is reported")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    frames = frames_from_seconds(arguments.seconds)
    results: dict[str, Any] = {"seconds_of_song": arguments.seconds, "frames": frames, "original": ORIGINAL}
    with tempfile.TemporaryDirectory() as folder:
        write_random_checkpoint(Path(folder), MIDDLE, seed=0)
        checkpoint = Checkpoint.open(folder)
        exact = Bench(checkpoint, "float32", arguments.seconds)
        low = Bench(checkpoint, "bfloat16", arguments.seconds)
        results["denoiser_float32"] = [denoiser(exact, rows) for rows in (1, 2)]
        results["denoiser_bfloat16"] = [denoiser(low, rows) for rows in (1, 2)]
        samples = arguments.samples
        for steps in arguments.steps:
            full, half = song(exact, steps, samples, plain=True), song(low, steps, samples, plain=False)
            expected, actual = full.pop("latents"), half.pop("latents")
            half["ratio_to_plain_float32"] = {
                "diffusion": full["plain"]["diffusion"] / half["ours"]["diffusion"],
                "all": full["plain"]["all"] / half["ours"]["all"],
            }
            half["error_of_latents"] = {
                "largest": float(np.abs(actual - expected).max()),
                "relative_rms": float(np.sqrt(np.square(actual - expected).mean() / np.square(expected).mean())),
            }
            results[f"{steps}_steps"] = {"float32": full, "bfloat16": half}
    report(results, arguments.out)


if __name__ == "__main__":
    main()
