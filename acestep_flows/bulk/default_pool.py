"""The pool of a job that names no pool file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from acestep_flows.runtime.serving.pool import Pool

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint

OVERHEAD = 1_000_000_000
"""Bytes that a process needs beside its weights: libraries, and one song being rendered."""


def suited_pool(checkpoint: Checkpoint) -> Pool:
    """The pool for this machine: its GPU where it has one, otherwise one process for each core."""
    import torch

    if torch.cuda.is_available():
        return Pool.read("single-gpu")
    from acestep_flows.runtime.bulk.pipeline import local_pool

    return local_pool(_replicas(_weight(checkpoint)))


def _replicas(weights: int) -> int:
    """One process for each core, as far as memory allows."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    room = int(psutil.virtual_memory().available * 0.8) // (weights + OVERHEAD)
    return max(1, min(cores, room))


def _weight(checkpoint: Checkpoint) -> int:
    """Bytes of all weights files."""
    return sum(path.stat().st_size for path in Path(checkpoint.root).rglob("*.safetensors"))
