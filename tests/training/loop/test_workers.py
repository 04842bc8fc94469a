"""Two processes that share a step's batches do what one does with all of them."""

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
from acestep_flows.training.loop.workers import SingleWorker, share
from tests.training.toy_training import ToyTask, toy_recipe

SETTINGS = {"steps": 6, "accumulate": 4, "save_every": 2, "log_every": 1, "schedule": "constant"}

SCRIPT = """
import os, sys
from pathlib import Path

os.environ["GLOO_SOCKET_IFNAME"] = "lo" if sys.platform == "linux" else "lo0"

from torch import distributed, nn

from acestep_flows.errors import TrainingError
from acestep_flows.training.loop.workers import Group
from acestep_flows.training.loop.loop import train
from tests.training.loop.test_workers import SETTINGS
from tests.training.toy_training import ToyTask, toy_recipe

place, rank = Path(sys.argv[1]), int(sys.argv[2])
distributed.init_process_group("gloo", init_method=f"file://{place / 'meeting'}", rank=rank, world_size=2)
crew = Group()

lone, shared, never = (nn.Parameter(nn.init.ones_(nn.Linear(1, 1).weight)) for _ in range(3))
if rank:
    lone.sum().backward()
(shared * (rank + 1)).sum().backward()
crew.add_gradients([lone, shared, never])
assert (lone.grad.item(), shared.grad.item(), never.grad) == (1.0, 3.0, None)

train(ToyTask(), toy_recipe(**SETTINGS), place / "two", crew=crew)
try:
    train(ToyTask(bad=(11, 14)), toy_recipe(**SETTINGS), place / "bad", crew=crew)
except TrainingError as error:
    print(error, flush=True)
asked = iter([False, False, rank == 1])
train(ToyTask(), toy_recipe(**SETTINGS), place / "stopped", crew=crew, asked=lambda: next(asked))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes have left, and what they said."""
    place = tmp_path_factory.mktemp("crew")
    members = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(place), str(rank)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for rank, member in enumerate(members):
        said, wrong = member.communicate(timeout=300)
        assert member.returncode == 0, wrong
        (place / f"said-{rank}").write_text(said)
    return place


def newest(out: Path) -> dict[str, Any]:
    states = States(out / "states", 3)
    return states.load(states.steps()[-1])


def test_two_with_half_the_batches_are_one_with_all(place: Path, tmp_path: Path) -> None:
    train(ToyTask(), toy_recipe(**SETTINGS), tmp_path)
    one, two = newest(tmp_path), newest(place / "two")
    assert one["step"] == two["step"] == 6
    for kept in ("weights", "average"):
        for name, weight in one[kept].items():
            if name == "line.0.bias":  # the norm after it takes it away again: its gradient is rounding alone
                continue
            # Gradients are added up in another order; a step is 1e-2 at most, where a gradient is nearly zero too.
            torch.testing.assert_close(two[kept][name], weight, rtol=1e-3, atol=5e-4)
    one_curve, two_curve = (
        [line["loss"] for line in read(out / "curve.jsonl") if "loss" in line] for out in (tmp_path, place / "two")
    )
    assert len(one_curve) == 6
    assert two_curve == pytest.approx(one_curve, rel=1e-3)


def test_a_bad_batch_of_one_stops_both_before_it_does_harm(place: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as alone:
        train(ToyTask(bad=(11, 14)), toy_recipe(**SETTINGS), tmp_path)
    assert "points 11 (batch 11)" in str(alone.value)
    for rank in (0, 1):
        assert str(alone.value) in (place / f"said-{rank}").read_text()
    assert newest(place / "bad")["step"] == 2
    assert all(torch.isfinite(weight).all() for weight in newest(place / "bad")["weights"].values())


def test_who_is_asked_to_stop_stops_all(place: Path) -> None:
    assert newest(place / "stopped")["step"] == 2
    assert not (place / "stopped" / "export").exists()


def test_a_step_is_shared_evenly_or_not_at_all() -> None:
    assert share(toy_recipe(accumulate=6), 3) == 2
    assert share(toy_recipe(), SingleWorker.size) == 1
    with pytest.raises(InputError, match="loop.accumulate: 1 per step .* by 2 workers .*a multiple of 2"):
        share(toy_recipe(), 2)
