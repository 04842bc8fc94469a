"""The machine of a measurement, which is written into every result; timing and reporting of benchmarks."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("acestep-flows", "torch", "diffusers", "transformers", "numpy")
CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def machine() -> dict[str, Any]:
    """Commit, versions, threads and processor features."""
    import torch

    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    return {
        "commit": commit,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu": [feature for feature in CPU_FEATURES if feature in _cpu_flags()],
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _cpu_flags() -> set[str]:
    info = Path("/proc/cpuinfo")
    return set(info.read_text().split()) if info.is_file() else set()


def best(work: Callable[[], object], runs: int = 3) -> float:
    """Seconds of the fastest of `runs` runs, after a warm-up run."""
    work()
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def matmul_rate(size: int = 2048, dtype: str = "float32") -> float:
    """Floating point operations per second of a square matrix product, by the faster of torch and packed oneDNN."""
    import torch

    from acestep_flows.model.fastest_products import packed_or_none

    a, b = (torch.randn(size, size).to(getattr(torch, dtype)) for _ in range(2))
    packed = packed_or_none(b.mT, None)
    ways: list[Callable[[], object]] = [partial(torch.matmul, a, b)]
    if packed is not None:
        ways.append(partial(packed, a))
    with torch.inference_mode():
        return 2 * size**3 / min(best(way, runs=8) for way in ways)


def report(results: dict[str, Any], out: str | None) -> None:
    """Print the results as JSON, with the machine, and write them to the file `out` if it is given."""
    text = json.dumps({"machine": machine(), **results}, indent=2)
    print(text)
    if out:
        Path(out).write_text(text + "\n")
