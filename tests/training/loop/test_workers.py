"""Two processes that share the batches of a step equal one process with all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from acestep_flows.errors import InputError, TrainingError
from acestep_flows.training.loop.curve import read
from acestep_flows.training.loop.loop import train
from acestep_flows.training.loop.states import States
from acestep_flows.training.loop.workers import SingleWorker, batches_per_worker
from tests.training.toy_training import ToyTask, toy_recipe

SETTINGS = {"steps": 6, "accumulate": 4, "save_every": 2, "log_every": 1, "schedule": "constant"}

SCRIPT = """
import os, sys
from pathlib import Path

os.environ["GLOO_SOCKET_IFNAME"] = "lo" if sys.platform == "linux" else "lo0"

from torch import distributed, nn

from acestep_flows.errors import TrainingError
from acestep_flows.training.loop.workers import DistributedWorkers
from acestep_flows.training.loop.loop import train
from tests.training.loop.test_workers import SETTINGS
from tests.training.toy_training import ToyTask, toy_recipe

folder, rank = Path(sys.argv[1]), int(sys.argv[2])
distributed.init_process_group("gloo", init_method=f"file://{folder /  'meeting'}", rank=rank, world_size=2)
workers = DistributedWorkers()

one_rank, both_ranks, no_rank = (nn.Parameter(nn.init.ones_(nn.Linear(1, 1).weight)) for _ in range(3))
if rank:
    one_rank.sum().backward()
(both_ranks * (rank + 1)).sum().backward()
workers.add_gradients([one_rank, both_ranks, no_rank])
assert (one_rank.grad.item(), both_ranks.grad.item(), no_rank.grad) == (1.0, 3.0, None)

train(ToyTask(), toy_recipe(**SETTINGS), folder /  "two", workers=workers)
try:
    train(ToyTask(bad=(11, 14)), toy_recipe(**SETTINGS), folder /  "bad", workers=workers)
except TrainingError as error:
    print(error, flush=True)
requests = iter([False, False, rank == 1])
train(ToyTask(), toy_recipe(**SETTINGS), folder /  "stopped", workers=workers, stop_requested=lambda: next(requests))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the runs of two worker processes, and what each printed."""
    folder = tmp_path_factory.mktemp("workers")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(folder), str(rank)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for rank, process in enumerate(processes):
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        (folder / f"output-{rank}").write_text(output)
    return folder


def newest(out: Path) -> dict[str, Any]:
    states = States(out / "states", 3)
    return states.load(states.steps()[-1])


def test_two_workers_equal_one(folder: Path, tmp_path: Path) -> None:
    train(ToyTask(), toy_recipe(**SETTINGS), tmp_path)
    one, two = newest(tmp_path), newest(folder / "two")
    assert one["step"] == two["step"] == 6
    for key in ("weights", "average"):
        for name, weight in one[key].items():
            if name == "line.0.bias":  # the norm after it cancels it, so its gradient is rounding only
                continue
            # Gradients are added in another order. A step is up to 1e-2, even where a gradient is nearly zero.
            torch.testing.assert_close(two[key][name], weight, rtol=1e-3, atol=5e-4)
    one_curve, two_curve = (
        [line["loss"] for line in read(out / "curve.jsonl") if "loss" in line] for out in (tmp_path, folder / "two")
    )
    assert len(one_curve) == 6
    assert two_curve == pytest.approx(one_curve, rel=1e-3)


def test_a_bad_batch_of_one_worker_stops_both(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as alone:
        train(ToyTask(bad=(11, 14)), toy_recipe(**SETTINGS), tmp_path)
    assert "points 11 (batch 11)" in str(alone.value)
    for rank in (0, 1):
        assert str(alone.value) in (folder / f"output-{rank}").read_text()
    assert newest(folder / "bad")["step"] == 2
    assert all(torch.isfinite(weight).all() for weight in newest(folder / "bad")["weights"].values())


def test_a_stop_request_to_one_worker_stops_all(folder: Path) -> None:
    assert newest(folder / "stopped")["step"] == 2
    assert not (folder / "stopped" / "export").exists()


def test_batches_are_divided_evenly_or_refused() -> None:
    assert batches_per_worker(toy_recipe(accumulate=6), 3) == 2
    assert batches_per_worker(toy_recipe(), SingleWorker.size) == 1
    with pytest.raises(InputError, match="loop.accumulate: 1 per step .* by 2 workers .*a multiple of 2"):
        batches_per_worker(toy_recipe(), 2)
