from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from acestep_flows.bulk.default_pool import suited_pool
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.embedded import embedded_checkpoint
from acestep_flows.model.machine import Machine


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint.open(embedded_checkpoint(), cache=tmp_path)


def test_every_core_renders_where_there_is_room(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=100e9))
    assert suited_pool(checkpoint).processes["all"].most == 8


@pytest.mark.parametrize(("available", "replicas"), [(4e9, 3), (1e9, 1), (0, 1)])
def test_memory_bounds_the_processes(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, available: float, replicas: int
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=available))
    assert suited_pool(checkpoint).processes["all"].most == replicas


def test_a_gpu_is_used_where_there_is_one(checkpoint: Checkpoint) -> None:
    pool = suited_pool(checkpoint, Machine(16, 10**11, (24 * 10**9,)))
    assert (pool.gpus, pool.processes["networks"].placement.device) == (1, "cuda")


def test_it_says_what_it_chose(checkpoint: Checkpoint) -> None:
    pool = suited_pool(checkpoint, Machine(4, 10**11))
    assert pool.name == "auto"
    assert pool.summary == "4 processes with all stages, 1 thread each (4 cores, 100 GB of memory free, no GPU)"
    assert pool.engine.songs == 1, "songs come out as `run` makes them on one thread"
