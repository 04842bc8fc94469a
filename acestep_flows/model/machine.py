"""What this machine offers: cores, memory and GPUs, as a container or a CPU mask limits them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from acestep_flows.lazy_imports import garbage_collection_paused

CGROUPS = Path("/sys/fs/cgroup")
GPU_DEVICES = tuple(Path(path) for path in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg"))
"""Device files of NVIDIA, AMD and WSL. Without one of them no GPU is looked for on Linux: that would import torch."""

_CPU_QUOTAS = (("cpu.max", None), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))
_MEMORY_LIMITS = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
"""Files of version 2 and version 1 of Linux's control groups."""


@dataclass(frozen=True)
class Machine:
    """The hardware that processes may use.

    Attributes:
        cores: processor cores.
        memory: bytes of memory that are free.
        gpus: bytes of memory of each GPU that torch can use.
    """

    cores: int
    memory: int
    gpus: tuple[int, ...] = ()

    def __str__(self) -> str:
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        gpus = f"{len(self.gpus) or 'no'} GPU{'s' if len(self.gpus) > 1 else ''}"
        return f"{cores}, {self.memory / 1e9:.0f} GB of memory free, {gpus}"


def this_machine(cgroups: Path = CGROUPS) -> Machine:
    """The hardware that this process may use.

    Args:
        cgroups: where the limits of control groups are.
    """
    import psutil

    memory = int(psutil.virtual_memory().available)
    for limit_file, usage_file in _MEMORY_LIMITS:
        limit, usage = _number(cgroups / limit_file), _number(cgroups / usage_file)
        if limit is not None:
            memory = min(memory, max(0, limit - (usage or 0)))
    return Machine(usable_cores(cgroups), memory, _gpus())


def usable_cores(cgroups: Path = CGROUPS) -> int:
    """Cores of the CPU mask of this process, or fewer where a quota of its control group allows less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for quota_file, period_file in _CPU_QUOTAS:
        quota = _number(cgroups / quota_file)
        period = _number(cgroups / quota_file, 1) if period_file is None else _number(cgroups / period_file)
        if quota is not None and quota > 0 and period:
            cores = min(cores, max(1, quota // period))
    return cores


def _number(path: Path, position: int = 0) -> int | None:
    """A number in a file of a control group; None if there is none, or no limit (`max`)."""
    try:
        return int(path.read_text().split()[position])
    except (OSError, ValueError, IndexError):
        return None


def _gpus() -> tuple[int, ...]:
    if os.name == "posix" and CGROUPS.exists() and not any(path.exists() for path in GPU_DEVICES):
        return ()
    with garbage_collection_paused():
        import torch

    if not torch.cuda.is_available():
        return ()
    return tuple(torch.cuda.get_device_properties(index).total_memory for index in range(torch.cuda.device_count()))
