"""Forward passes for `gpu.py`: their kernels, their operations, how long they take."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from acestep_flows.sampling.denoiser import DenoiserRow
from acestep_flows.sampling.queries import JointQuery
from acestep_flows.sampling.recorded_passes import RecordedPasses
from acestep_flows.testing.kernel_count import KernelCount
from acestep_flows.values import frames_from_seconds
from benchmarks.gpu_device import Device, Plan
from benchmarks.gpu_networks import Networks, on_meta, random_conditions


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

    @torch.inference_mode()
    def by(self, recorded: RecordedPasses) -> Tensor:
        """The same by a recording."""
        query = JointQuery.of(self.frames, 500.0, "conditional")
        rows = [DenoiserRow(query, condition) for condition in self.conditions]
        return recorded(self.transformer, self.latents, rows)


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
                if device.is_cuda:
                    recorded = RecordedPasses(device.memory // 2)
                    took = device.seconds(partial(work.by, recorded), plan.runs)
                    share = round(rows * single / took / 1e12 / rate, 3)
                    row["recorded"] = {"milliseconds": round(1000 * took, 2), "share_of_matmul": share}
                    row["recorded"] |= {"replayed": recorded.stats.replayed > 0}
            except torch.OutOfMemoryError:
                row["failed"] = "out of memory"
            found.append(row)
            print(f"  {rows:3} rows of {seconds:g} s: {_told(row)}", flush=True)
    return found


def _told(row: dict[str, Any]) -> str:
    if "failed" in row:
        return str(row["failed"])
    ways = [row, row["recorded"]] if "recorded" in row else [row]
    return "; recorded ".join(f"{way['milliseconds']} ms, {way['share_of_matmul']:.0%} of the rate" for way in ways)
