"""A disk that is really full: the error is one line, and the last state is whole."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from acestep_flows.errors import StorageError
from acestep_flows.training.loop.curve import read
from acestep_flows.training.loop.loop import train
from acestep_flows.training.loop.states import States
from tests.training.toy_training import ToyTask, toy_recipe

SIZE = 2**20
SETTINGS: dict[str, Any] = {"steps": 40, "schedule": "constant", "preview_every": 10}

LIMITED = """
import resource, sys
from pathlib import Path
from acestep_flows.training.loop.loop import train
from tests.training.test_full_disk import SETTINGS
from tests.training.toy_training import ToyTask, toy_recipe

out = Path(sys.argv[1])
train(ToyTask(), toy_recipe(**SETTINGS | {"steps": 10}), out)
state = (out / "states" / "step-00000010.pt").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (state // 2, resource.RLIM_INFINITY))
try:
    train(ToyTask(), toy_recipe(**SETTINGS), out, resume=True)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system of one mebibyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip("file systems may not be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path, leaving: int) -> Path:
    """Fill a disk up to its last `leaving` bytes."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            file.truncate(max(0, file.tell() - leaving))
    return filler


def newest_state(out: Path) -> dict[str, Any]:
    """The newest state. Fails where unfinished files lie beside it."""
    assert not list((out / "states").glob(".*"))
    states = States(out / "states", 3)
    return states.load(states.steps()[-1])


@pytest.mark.parametrize("leaving", [0, 4096, 12288, 32768])
def test_a_full_disk_loses_nothing(small_disk: Path, tmp_path: Path, leaving: int) -> None:
    train(ToyTask(), toy_recipe(**SETTINGS), tmp_path / "uninterrupted")
    out = small_disk / "run"
    train(ToyTask(), toy_recipe(**SETTINGS | {"steps": 10}), out)
    filler = fill(small_disk, leaving)
    with pytest.raises(StorageError, match="No space left on device") as refused:
        train(ToyTask(), toy_recipe(**SETTINGS), out, resume=True)
    assert str(small_disk) in str(refused.value)
    assert "\n" not in str(refused.value)
    reached = newest_state(out)["step"]
    assert reached >= 10
    filler.unlink()
    assert train(ToyTask(), toy_recipe(**SETTINGS), out, resume=True).finished
    never = tmp_path / "uninterrupted"
    assert torch.equal(newest_state(out)["weights"]["line.0.weight"], newest_state(never)["weights"]["line.0.weight"])
    one, other = ([line["loss"] for line in read(run / "curve.jsonl") if "loss" in line] for run in (out, never))
    assert one == other


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("StorageError")
    assert "cannot be written: " in done.stdout
    assert done.stdout.count("\n") == 1
    assert newest_state(tmp_path)["step"] >= 10
    assert train(ToyTask(), toy_recipe(**SETTINGS), tmp_path, resume=True).finished
