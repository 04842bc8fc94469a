"""On which processes a job runs where no pool file says it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from acestep_flows.runtime.serving.pool import Pool

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint

OVERHEAD = 1_000_000_000
"""Bytes that a process takes beside its weights: libraries, and one song under way."""


def suited_pool(checkpoint: Checkpoint) -> Pool:
    """What suits this machine: a GPU is used where there is one, else every core renders songs of its own."""
    import torch

    if torch.cuda.is_available():
        return Pool.read("single-gpu")
    from acestep_flows.runtime.bulk.pipeline import local_pool

    return local_pool(_replicas(_weight(checkpoint)))


def _replicas(weights: int) -> int:
    """As many processes as there are cores, and room for."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    room = int(psutil.virtual_memory().available * 0.8) // (weights + OVERHEAD)
    return max(1, min(cores, room))


def _weight(checkpoint: Checkpoint) -> int:
    """Bytes of all weights files."""
    return sum(path.stat().st_size for path in Path(checkpoint.root).rglob("*.safetensors"))
