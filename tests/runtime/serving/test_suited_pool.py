"""The pool of a server that names no pool file fits the machine, and says what it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.errors import InputError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.embedded import embedded_checkpoint
from acestep_flows.model.machine import Machine
from acestep_flows.runtime.serving import suited_pool
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.runtime.serving.suited_pool import (
    OVERHEAD,
    machine_with,
    memory_warning,
    room,
    serving_pool,
    weights_bytes,
    with_choices,
)

GB = 10**9
PLENTY = 1000 * GB


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint.open(embedded_checkpoint(), cache=tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize(("cores", "replicas", "threads"), [(1, 1, 1), (2, 1, 2), (6, 1, 6), (16, 2, 8), (60, 7, 8)])
def test_processes_share_the_cores(checkpoint: Checkpoint, cores: int, replicas: int, threads: int) -> None:
    pool = serving_pool(checkpoint, Machine(cores, PLENTY))
    (process,) = pool.processes.values()
    assert (process.replicas, process.torch_threads) == (replicas, threads)
    assert pool.limits.running == 8 * replicas


def test_on_two_cores_it_is_the_shipped_pool_of_two_cores(checkpoint: Checkpoint) -> None:
    pool, local = serving_pool(checkpoint, Machine(2, 8 * GB)), Pool.read("local")
    (process,), (shipped,) = pool.processes.values(), local.processes.values()
    assert process.torch_threads == shipped.torch_threads
    assert set(process.stages) == set(shipped.stages)
    assert (pool.engine, pool.limits) == (local.engine, local.limits)


@given(st.integers(1, 256), st.integers(0, 1000), st.lists(st.integers(1, 200), max_size=8))
def test_every_machine_has_a_pool_that_fits(cores: int, memory: int, gpus: list[int]) -> None:
    checkpoint = Checkpoint.open(embedded_checkpoint())
    machine = Machine(cores, memory * GB, tuple(each * GB for each in gpus))
    pool = serving_pool(checkpoint, machine)
    assert Pool.model_validate_json(pool.model_dump_json()) == pool
    assert pool.gpus in (0, len(gpus))
    on_cpu = [process for process in pool.processes.values() if process.device == "cpu"]
    assert sum(process.torch_threads * process.most for process in on_cpu if pool.gpus == 0) <= cores
    if pool.gpus == 0 and pool.processes["all"].most > 1:
        assert pool.processes["all"].most <= room(checkpoint, machine)
    assert str(machine) in pool.summary


def test_every_gpu_has_a_process_of_networks(checkpoint: Checkpoint) -> None:
    pool = serving_pool(checkpoint, Machine(16, PLENTY, (80 * GB,) * 4))
    assert (pool.gpus, pool.processes["networks"].replicas, pool.processes["networks"].cpus) == (4, 4, 4)
    assert pool.limits.running == 4 * Pool.read("single-gpu").limits.running
    assert pool.summary.startswith("4 processes with all networks, a GPU each")


def test_a_gpu_without_room_for_the_weights_is_not_used(checkpoint: Checkpoint) -> None:
    pool = serving_pool(checkpoint, Machine(4, PLENTY, (GB,)))
    assert pool.gpus == 0
    assert "too small for the weights" in pool.summary


def test_weights_are_counted_in_the_precision_they_are_held_in(checkpoint: Checkpoint) -> None:
    assert weights_bytes(checkpoint, "float32") == 2 * weights_bytes(checkpoint, "bfloat16")
    assert 10e6 < weights_bytes(checkpoint, "float32") / 4 < 20e6, "acestep-nano has 12 million parameters"


def test_a_pool_that_does_not_fit_is_told(checkpoint: Checkpoint, tmp_path: Path) -> None:
    pool = Pool.read("local")
    assert memory_warning(pool, checkpoint, Machine(2, OVERHEAD)) is None
    said = memory_warning(pool, checkpoint, Machine(2, 1000))
    assert said is not None
    assert "pool local: " in said
    assert "--pool auto" in said


def test_another_precision_is_that_of_the_networks(checkpoint: Checkpoint) -> None:
    pool = with_choices(serving_pool(checkpoint, Machine(2, PLENTY)), None, "bfloat16")
    assert {process.dtype for process in pool.processes.values()} == {"bfloat16"}
    on_gpu = with_choices(serving_pool(checkpoint, Machine(16, PLENTY, (PLENTY,))), "embedded", "float32")
    assert {name: process.dtype for name, process in on_gpu.processes.items()} == dict.fromkeys(
        on_gpu.processes, "float32"
    )
    assert on_gpu.checkpoint == "embedded"
    halved = with_choices(on_gpu, None, "bfloat16").processes
    assert (halved["networks"].dtype, halved["audio"].dtype) == ("bfloat16", "float32")


def test_one_gpu_of_several_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(suited_pool, "this_machine", lambda: Machine(8, PLENTY, (10 * GB, 20 * GB)))
    assert machine_with(None) == (Machine(8, PLENTY, (10 * GB, 20 * GB)), [])
    assert machine_with(1) == (Machine(8, PLENTY, (20 * GB,)), [])
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    with pytest.raises(InputError, match="0 to 1"):
        machine_with(2)
    monkeypatch.setattr(suited_pool, "this_machine", lambda: Machine(8, PLENTY))
    machine, (line,) = machine_with(0)
    assert machine.gpus == ()
    assert "no GPU" in line
