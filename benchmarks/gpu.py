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
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from acestep_flows.model.encoded_conditions import EncodedConditions
from acestep_flows.model.float8 import has_float8, use_float8
from acestep_flows.model.placement import Dtype, Placement
from acestep_flows.sampling.active_song import ActiveSong
from acestep_flows.sampling.denoiser import TransformerDenoiser
from acestep_flows.sampling.loop import denoise_all
from acestep_flows.sampling.noise import SeededDraws, draw
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.queries import BranchName
from acestep_flows.sampling.row_batching import RowBatcher
from acestep_flows.sampling.text2music import text2music
from acestep_flows.testing.kernel_count import KernelCount
from acestep_flows.values import frames_from_seconds
from benchmarks.gpu_networks import PUBLISHED, TINY, Networks, on_meta, random_conditions

BRANCHES: tuple[BranchName, ...] = ("conditional", "null")
PUBLISHED_FACTORS = {"A100": (27.27, 12.27), "RTX 4090": (34.48, 15.63), "M2 Max": (2.27, 1.03)}
"""Seconds of music for each second of work, with 27 and 60 steps, as ACE-Step published them."""


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        seconds: lengths of songs in passes.
        songs: lengths of whole songs.
        loads: songs made together, each of `load_seconds`.
        square: side of the products that show the rate of the device.
    """

    rows: Sequence[int] = (1, 2, 8, 16, 32)
    seconds: Sequence[float] = (30, 60, 240)
    steps: Sequence[int] = (27, 60)
    songs: Sequence[float] = (30, 240)
    loads: Sequence[int] = (1, 2, 4, 8, 16, 32)
    load_seconds: float = 30
    load_steps: int = 27
    square: int = 8192
    runs: int = 3


QUICK = Plan(rows=(1, 2, 16), seconds=(60,), steps=(27,), songs=(30, 240), loads=(1, 16), load_steps=8, runs=2)
TINY_PLAN = Plan((1, 2), (1, 2), (2,), (1, 2), (1, 3), 1, 2, 128, 1)


class Device:
    """Times and watches one device."""

    def __init__(self, name: str) -> None:
        self.device = torch.device(name)
        self.is_cuda = self.device.type == "cuda"

    def wait(self) -> None:
        if self.is_cuda:
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def seconds(self, work: Callable[[], object], runs: int) -> float:
        """Of the fastest of `runs` runs, after one to warm up."""
        best = float("inf")
        for run in range(runs + 1):
            self.wait()
            started = time.perf_counter()
            work()
            self.wait()
            if run:
                best = min(best, time.perf_counter() - started)
        return best

    @contextmanager
    def peak(self, into: dict[str, Any], name: str) -> Iterator[None]:
        """Note the most memory that the device held inside the context, in gigabytes."""
        if self.is_cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        yield
        into[name] = round(torch.cuda.max_memory_allocated(self.device) / 1e9, 2) if self.is_cuda else None

    def describe(self) -> dict[str, Any]:
        card: dict[str, Any] = {"device": str(self.device), "name": platform.processor() or platform.machine()}
        if self.is_cuda:
            properties = torch.cuda.get_device_properties(self.device)
            card |= {
                "name": properties.name,
                "memory_gb": round(properties.total_memory / 1e9, 1),
                "capability": f"{properties.major}.{properties.minor}",
                "cuda": torch.version.cuda,
            }
        return card | {"torch": torch.__version__, "python": platform.python_version()}


def rates(device: Device, dtype: torch.dtype, plan: Plan) -> dict[str, float]:
    """Products in TFLOP/s, and copies in GB/s: within the device, and to it from pinned memory."""
    a, b = (torch.randn(plan.square, plan.square, device=device.device).to(dtype) for _ in range(2))
    product = device.seconds(lambda: a @ b, 3 * plan.runs)
    source = torch.empty(plan.square * plan.square, device=device.device)
    target = torch.empty_like(source)
    copy = device.seconds(lambda: target.copy_(source), 3 * plan.runs)
    host = torch.empty(plan.square * plan.square, pin_memory=device.is_cuda)
    upload = device.seconds(lambda: target.copy_(host, non_blocking=True), 3 * plan.runs)
    return {
        "matmul_tflops": float(f"{2 * plan.square**3 / product / 1e12:.4g}"),
        "copy_gbytes": round(2 * source.nbytes / copy / 1e9, 1),
        "upload_gbytes": round(source.nbytes / upload / 1e9, 1),
    }


class Pass:
    """A forward pass of `rows` songs of one length, each under conditions of its own."""

    def __init__(self, transformer: Any, device: torch.device, rows: int, seconds: float, tokens: int = 384) -> None:
        self.transformer, self.rows, self.frames = transformer, rows, frames_from_seconds(seconds)
        self.latents = torch.zeros(rows, 8, 16, self.frames, device=device)
        self.timesteps = torch.full((rows,), 500.0, device=device)
        one = random_conditions(transformer, device, tokens)
        self.conditions = [type(one)(one.keys_values) for _ in range(rows)]

    @torch.inference_mode()
    def __call__(self) -> Tensor:
        velocity: Tensor = self.transformer(self.latents, self.timesteps, self.conditions)
        return velocity


def kernels(sizes: Any, rows: Sequence[int]) -> dict[int, int]:
    """Kernels of a pass, counted without a device."""
    transformer, counts = on_meta(sizes), {}
    for count in rows:
        work = Pass(transformer, torch.device("meta"), count, 30)
        work()
        with KernelCount() as counted:
            work()
        counts[count] = counted.total
    return counts


def flops(sizes: Any, rows: int, seconds: float) -> int:
    """Floating point operations of the products of a pass."""
    work = Pass(on_meta(sizes), torch.device("meta"), rows, seconds)
    with FlopCounterMode(display=False) as counted:
        work()
    return int(counted.get_total_flops())


def passes(device: Device, networks: Networks, sizes: Any, plan: Plan, rate: float) -> list[dict[str, Any]]:
    """Seconds of a pass and its share of the rate of products, by rows and length."""
    found = []
    for seconds in plan.seconds:
        single = flops(sizes, 1, seconds)
        for rows in plan.rows:
            work = Pass(networks.transformer, device.device, rows, seconds)
            row: dict[str, Any] = {"rows": rows, "song_seconds": seconds}
            try:
                took = device.seconds(work, plan.runs)
                share = round(rows * single / took / 1e12 / rate, 3)
                row |= {"milliseconds": round(1000 * took, 2), "share_of_matmul": share}
            except torch.OutOfMemoryError:
                row["failed"] = "out of memory"
            found.append(row)
            print(f"  {rows:3} rows of {seconds:g} s: {_told(row)}", flush=True)
    return found


def _told(row: dict[str, Any]) -> str:
    if "failed" in row:
        return str(row["failed"])
    return f"{row['milliseconds']} ms, {row['share_of_matmul']:.0%} of the rate of products"


def begin(networks: Networks, seconds: float, steps: int, seed: int) -> ActiveSong:
    """A guided song of random conditions."""
    frames = frames_from_seconds(seconds)
    conditions: dict[BranchName, EncodedConditions] = {}
    for branch in BRANCHES:
        conditions[branch] = networks.conditions()
    noise = torch.from_numpy(draw(seed, frames))
    trajectory = text2music(noise, SamplerOptions(steps=steps), SeededDraws(seed, frames))
    return ActiveSong.begin(trajectory, TransformerDenoiser(networks.transformer, conditions))


def denoised(networks: Networks, seconds: float, steps: int, songs: int) -> list[Any]:
    """Latents of songs that are made together."""
    begins = [partial(begin, networks, seconds, steps, seed) for seed in range(songs)]
    batcher = RowBatcher.on(networks.placement.device)
    ended = denoise_all(begins, lambda index, song: None, batcher, tokens=1 << 30, songs=songs)
    latents = []
    for _, song in ended:
        if isinstance(song, Exception):
            raise song
        latents.append(song.state.latents.contiguous().numpy())
    return latents


def whole_songs(device: Device, networks: Networks, plan: Plan, memory: dict[str, Any]) -> list[dict[str, Any]]:
    """Seconds of each part of whole songs, and the real-time factor."""
    found = []
    for seconds in plan.songs:
        for steps in plan.steps:
            (latents,) = denoised(networks, seconds, 1, 1)
            mel = networks.autoencoder.decode(latents, overlap=True)
            parts: dict[str, Callable[[], object]] = {
                "diffusion": partial(denoised, networks, seconds, steps, 1),
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


def loads(device: Device, networks: Networks, plan: Plan) -> list[dict[str, Any]]:
    """Songs a second, by how many are made together."""
    found: list[dict[str, Any]] = []
    for songs in plan.loads:
        work = partial(denoised, networks, plan.load_seconds, plan.load_steps, songs)
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
        use_float8(networks.transformer)
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
    results["songs"] = whole_songs(device, networks, plan, memory)
    results["loads"] = loads(device, networks, plan)
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
