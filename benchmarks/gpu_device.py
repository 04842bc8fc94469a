"""What `gpu.py` measures, and how it times and watches a device."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch


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


class Device:
    """Times and watches one device."""

    def __init__(self, name: str) -> None:
        self.device = torch.device(name)
        self.is_cuda = self.device.type == "cuda"
        self.memory = torch.cuda.get_device_properties(self.device).total_memory if self.is_cuda else 0

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
