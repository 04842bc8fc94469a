"""Measure a GPU: how fast it makes songs, and what share of its rate the networks reach.

    python -m benchmarks.gpu [--quick] [--json FILE] [--device cuda] [--tiny]

Random weights of the published size are made on the device, so nothing is fetched. A modern card takes less than eight
minutes, with `--quick` two. `--device cpu --tiny` runs everything on small networks, to see that it works.

Published real-time factors (240 s, 27 and 60 steps): A100 27.27 and 12.27, RTX 4090 34.48 and 15.63, M2 Max 2.27 and
1.03.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from acestep_flows.model.encoded_conditions import EncodedConditions
from acestep_flows.model.float8 import has_float8, use_float8
from acestep_flows.model.placement import Dtype, Placement
from acestep_flows.sampling.active_song import ActiveSong
from acestep_flows.sampling.denoiser import TransformerDenoiser
from acestep_flows.sampling.loop import denoise_all
from acestep_flows.sampling.noise import SeededDraws, draw
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.queries import BranchName
from acestep_flows.sampling.recorded_passes import RecordedPasses
from acestep_flows.sampling.row_batching import RowBatcher
from acestep_flows.sampling.text2music import text2music
from acestep_flows.values import frames_from_seconds
from benchmarks.gpu_device import Device, Plan, rates
from benchmarks.gpu_networks import PUBLISHED, TINY, Networks
from benchmarks.gpu_passes import kernels, passes

BRANCHES: tuple[BranchName, ...] = ("conditional", "null")
PUBLISHED_FACTORS = {"A100": (27.27, 12.27), "RTX 4090": (34.48, 15.63), "M2 Max": (2.27, 1.03)}
"""Seconds of music for each second of work, with 27 and 60 steps, as ACE-Step published them."""


QUICK = Plan(rows=(1, 2, 16), seconds=(60,), steps=(27,), songs=(30, 240), loads=(1, 16), load_steps=8, runs=2)
TINY_PLAN = Plan((1, 2), (1, 2), (2,), (1, 2), (1, 3), 1, 2, 128, 1)


def begin(networks: Networks, seconds: float, steps: int, seed: int) -> ActiveSong:
    """A guided song of random conditions."""
    frames = frames_from_seconds(seconds)
    conditions: dict[BranchName, EncodedConditions] = {}
    for branch in BRANCHES:
        conditions[branch] = networks.conditions()
    noise = torch.from_numpy(draw(seed, frames))
    trajectory = text2music(noise, SamplerOptions(steps=steps), SeededDraws(seed, frames))
    return ActiveSong.begin(trajectory, TransformerDenoiser(networks.transformer, conditions))


def denoised(networks: Networks, batcher: RowBatcher, seconds: float, steps: int, songs: int) -> list[Any]:
    """Latents of songs that are made together."""
    begins = [partial(begin, networks, seconds, steps, seed) for seed in range(songs)]
    ended = denoise_all(begins, lambda index, song: None, batcher, tokens=1 << 30, songs=songs)
    latents = []
    for _, song in ended:
        if isinstance(song, Exception):
            raise song
        latents.append(song.state.latents.contiguous().numpy())
    return latents


def whole_songs(
    device: Device, networks: Networks, batcher: RowBatcher, plan: Plan, memory: dict[str, Any]
) -> list[dict[str, Any]]:
    """Seconds of each part of whole songs, and the real-time factor."""
    found = []
    for seconds in plan.songs:
        for steps in plan.steps:
            (latents,) = denoised(networks, batcher, seconds, 1, 1)
            mel = networks.autoencoder.decode(latents, overlap=True)
            parts: dict[str, Callable[[], object]] = {
                "diffusion": partial(denoised, networks, batcher, seconds, steps, 1),
                "autoencoder": partial(networks.autoencoder.decode, latents, overlap=True),
                "vocoder": partial(networks.vocoder.decode, mel, overlap=True),
            }
            took = {}
            for part, work in parts.items():
                with device.peak(memory, f"{part}_{seconds:g}s"):
                    took[part] = device.seconds(work, 1)
            factor = round(seconds / sum(took.values()), 2)
            rounded = {part: round(each, 3) for part, each in took.items()}
            found.append({"song_seconds": seconds, "steps": steps, **rounded, "real_time_factor": factor})
            print(f"  {seconds:g} s, {steps} steps: {rounded}, real-time factor {factor}", flush=True)
    return found


def loads(device: Device, networks: Networks, batcher: RowBatcher, plan: Plan) -> list[dict[str, Any]]:
    """Songs a second, by how many are made together."""
    found: list[dict[str, Any]] = []
    for songs in plan.loads:
        work = partial(denoised, networks, batcher, plan.load_seconds, plan.load_steps, songs)
        try:
            per_second = songs / device.seconds(work, 1)
        except torch.OutOfMemoryError:
            found.append({"songs": songs, "failed": "out of memory"})
            continue
        found.append({"songs": songs, "steps": plan.load_steps, "songs_per_second": round(per_second, 4)})
        print(f"  {songs} songs of {plan.load_seconds:g} s: {per_second:.3f} a second", flush=True)
    return found


def errors(name: str) -> dict[str, float]:
    """Errors of a velocity against fp32 on a processor, as a share of its size, on small random networks."""
    exact = _velocity(Placement("cpu", "float32"))
    kinds: dict[str, tuple[Dtype, bool]] = {"float32": ("float32", False), "bfloat16": ("bfloat16", False)}
    if name == "cpu" or has_float8(torch.device(name)):
        kinds["fp8"] = "bfloat16", True
    velocities = {kind: _velocity(Placement(name, dtype), fp8) for kind, (dtype, fp8) in kinds.items()}
    return {kind: float((velocity - exact).norm() / exact.norm()) for kind, velocity in velocities.items()}


@torch.inference_mode()
def _velocity(placement: Placement, fp8: bool = False) -> Tensor:
    networks = Networks.load(TINY, placement, drawn_on="cpu")
    if fp8:
        use_float8(networks.transformer.blocks)
    generator = torch.Generator().manual_seed(1)
    latents, config = torch.randn(2, 8, 16, 300, generator=generator), networks.transformer.config
    shape = (config.num_layers, 2, config.num_attention_heads, 40, config.attention_head_dim)
    keys_values = torch.randn(shape, generator=generator).to(networks.device, networks.transformer.dtype)
    conditions = EncodedConditions(keys_values)
    times = torch.tensor([800.0, 100.0], device=networks.device)
    velocity: Tensor = networks.transformer(latents.to(networks.device), times, [conditions] * 2)
    return velocity.float().cpu()


def measured(name: str, plan: Plan, tiny: bool) -> dict[str, Any]:
    """Everything about the device called `name`."""
    device, memory = Device(name), {}
    dtype: Dtype = "bfloat16" if device.is_cuda else "float32"
    sizes = TINY if tiny else PUBLISHED
    results: dict[str, Any] = {"machine": device.describe(), "dtype": dtype, "sizes": "tiny" if tiny else "published"}
    print(f"{results['machine']['name']}, torch {torch.__version__}, {dtype}", flush=True)
    results["rates"] = rates(device, getattr(torch, dtype), plan)
    print(f"  {results['rates']}", flush=True)
    results["kernels_of_a_pass"] = kernels(sizes, (1, 16, 64))
    results["errors_against_float32"] = errors(name)
    print(f"  kernels {results['kernels_of_a_pass']}, errors {results['errors_against_float32']}", flush=True)
    with device.peak(memory, "weights"):
        networks = Networks.load(sizes, Placement(name, dtype))
    results["passes"] = passes(device, networks, sizes, plan, results["rates"]["matmul_tflops"])
    batcher = RowBatcher.on(name)
    if device.is_cuda:
        batcher = RowBatcher(1024, recorded=RecordedPasses(device.memory // 3))
    results["songs"] = whole_songs(device, networks, batcher, plan, memory)
    results["loads"] = loads(device, networks, batcher, plan)
    results["recordings"] = None if batcher.recorded is None else asdict(batcher.recorded.stats)
    return results | {"peak_gigabytes": memory, "published_factors": PUBLISHED_FACTORS}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a GPU: speed of songs, shares of its rate, memory, errors.")
    parser.add_argument("--quick", action="store_true", help="fewer shapes: two minutes in place of eight")
    parser.add_argument("--tiny", action="store_true", help="small networks and few steps, to see that it works")
    parser.add_argument("--device", help="absent: the GPU that torch finds")
    parser.add_argument("--json", "--out", type=Path, dest="file", help="file for the results")
    arguments = parser.parse_args()
    name = arguments.device or ("cuda" if torch.cuda.is_available() else None)
    if name is None:
        parser.error("torch finds no GPU here; --device cpu --tiny tries it out on a processor")
    started = time.perf_counter()
    plan = TINY_PLAN if arguments.tiny else QUICK if arguments.quick else Plan()
    results = measured(name, plan, arguments.tiny) | {"seconds": round(time.perf_counter() - started, 1)}
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.file is not None:
        arguments.file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
