"""What a machine offers, within the limits of a container."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from acestep_flows.model import machine
from acestep_flows.model.machine import Machine, this_machine, usable_cores


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(16), raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=64_000))


def limits(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return folder


@pytest.mark.parametrize(("quota", "cores"), [("max 100000", 16), ("250000 100000", 2), ("5000 100000", 1), ("", 16)])
def test_a_quota_of_version_2_bounds_the_cores(tmp_path: Path, quota: str, cores: int) -> None:
    assert usable_cores(limits(tmp_path, cpu_dot_max=quota)) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 16), ("400000", 4), ("9900000", 16)])
def test_a_quota_of_version_1_bounds_the_cores(tmp_path: Path, quota: str, cores: int) -> None:
    folder = tmp_path / "cpu"
    folder.mkdir()
    (folder / "cpu.cfs_quota_us").write_text(quota)
    (folder / "cpu.cfs_period_us").write_text("100000")
    assert usable_cores(tmp_path) == cores


def test_free_memory_is_that_of_the_container(tmp_path: Path) -> None:
    assert this_machine(tmp_path).memory == 64_000
    limits(tmp_path, memory_dot_max="10000", memory_dot_current="3000")
    assert this_machine(tmp_path).memory == 7000
    limits(tmp_path, memory_dot_max="max")
    assert this_machine(tmp_path).memory == 64_000


def test_torch_is_imported_only_where_a_gpu_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def available() -> bool:
        asked.append(1)
        return True

    monkeypatch.setattr("torch.cuda.is_available", available)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda index: SimpleNamespace(total_memory=10 + index))
    monkeypatch.setattr(machine, "GPU_DEVICES", (tmp_path / "gpu",))
    assert (this_machine(tmp_path).gpus, asked) == ((), [])
    (tmp_path / "gpu").write_text("")
    assert this_machine(tmp_path).gpus == (10, 11)
    assert asked


def test_it_reads_as_a_line() -> None:
    assert str(Machine(1, 2 * 10**9)) == "1 core, 2 GB of memory free, no GPU"
    assert str(Machine(16, 10**11, (1, 1))) == "16 cores, 100 GB of memory free, 2 GPUs"
