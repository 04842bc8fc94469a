"""Training in two processes under Ray Train: the same steps as one process, and safe states when the driver dies."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Listener
from pathlib import Path

import psutil
import pytest
import torch

from acestep_flows.errors import InputError, TrainingError
from acestep_flows.training.kinds.lora import LoraRecipe, build
from acestep_flows.training.loop import loop
from acestep_flows.training.loop.curve import read
from acestep_flows.training.loop.recipe import parse_recipe
from acestep_flows.training.loop.states import States
from acestep_flows.training.loop.task import TrainingOutcome, TrainingProgress
from acestep_flows.training.loop.train_ray import SOCKET, STOP, _DriverLink, _user_error, _WorkerLink, train
from tests.training.encoded_songs import LOOP, recipe, write_songs

SCRIPT = """
import json, sys
from pathlib import Path
from acestep_flows.training.loop.recipe import parse_recipe
from acestep_flows.training.loop.train_ray import train

recipe = parse_recipe(json.loads(Path(sys.argv[1]).read_text()), "test")
train(recipe, Path(sys.argv[2]), 2, watch=lambda progress: print(progress.step, flush=True))
"""


def recipe_of(songs: Path, steps: int) -> LoraRecipe:
    settings = LOOP | {"steps": steps, "accumulate": 2, "schedule": "constant", "save_every": 1, "threads": 1}
    quiet = {"songs": 0, "measured": 0}
    content = recipe("lora", songs, adapter={"rank": 4, "alpha": 8}, preview=quiet, loop=settings)
    lora_recipe = parse_recipe(content, "test")
    assert isinstance(lora_recipe, LoraRecipe)
    return lora_recipe


def processes_of(driver: psutil.Process) -> list[psutil.Process]:
    """The Ray processes that work for the driver, without Ray's agents, which end later."""
    children = driver.children(recursive=True)
    return [child for child in children if "ray::" in child.name() and not child.name().endswith("Agent")]


def test_two_workers_equal_one_and_a_killed_driver_loses_no_state(tmp_path: Path) -> None:
    songs, out = write_songs(tmp_path / "songs"), tmp_path / "two"
    (tmp_path / "recipe.json").write_text(recipe_of(songs, 10**6).model_dump_json())
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "recipe.json"), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as driver:
        assert driver.stdout is not None
        steps_printed = [next(driver.stdout).strip() for _ in range(3)]
        workers = processes_of(psutil.Process(driver.pid))
        driver.kill()
    assert steps_printed == ["1", "2", "3"]
    assert len(workers) >= 2
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive, "workers outlive their driver"

    steps = States(out / "states", 3).steps()[-1] + 2
    for folder in (out, tmp_path / "one"):
        chosen = recipe_of(songs, steps)
        assert loop.train(build(chosen, "cpu"), chosen, folder, resume=True).finished
    one, two = (States(folder / "states", 3).load(steps) for folder in (tmp_path / "one", out))
    for name, weight in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], weight, rtol=1e-4, atol=1e-6)  # sums in another order
    one_curve, two_curve = (
        [line["loss"] for line in read(folder / "curve.jsonl") if "loss" in line] for folder in (tmp_path / "one", out)
    )
    assert len(one_curve) == steps
    assert two_curve == pytest.approx(one_curve, rel=1e-4)


def test_batches_that_cannot_be_divided_are_refused_at_once(tmp_path: Path) -> None:
    songs = write_songs(tmp_path / "songs")
    with pytest.raises(InputError, match="a multiple of 3"):
        train(recipe_of(songs, 4), tmp_path / "out", 3)
    assert not (tmp_path / "out").exists()


def test_the_link_carries_progress_and_stop_requests(tmp_path: Path) -> None:
    received: list[TrainingProgress] = []
    with contextlib.closing(_DriverLink(tmp_path, received.append)) as link:
        assert not link.send(STOP), "no worker is connected yet"
        worker = _WorkerLink(tmp_path)
        assert not worker.stop_requested()
        worker.send(TrainingProgress(3, 9, 0.5, {"loss": 1.0}))
        until(lambda: bool(received), link)
        assert received[0].losses == {"loss": 1.0}
        assert link.send(STOP)
        assert worker._connection.poll(10)
        assert worker.stop_requested()
        assert worker.stop_requested(), "a stop request stays"
        worker.send(TrainingOutcome(4, False, tmp_path))
        until(lambda: link.outcome is not None, link)
    assert link.outcome == TrainingOutcome(4, False, tmp_path)


def test_a_worker_whose_driver_is_gone_ends(tmp_path: Path) -> None:
    with Listener(str(tmp_path / SOCKET), family="AF_UNIX") as listener:
        worker = _WorkerLink(tmp_path)
        listener.accept().close()
    with pytest.raises(TrainingError, match="driver is gone"):
        worker.stop_requested()
    with pytest.raises(TrainingError, match="driver is gone"):
        worker.send(TrainingProgress(1, 2, 0.1))


def until(condition: Callable[[], bool], link: _DriverLink) -> None:
    for _ in range(100):
        link.receive(0.1)
        if condition():
            return
    raise AssertionError("no message came")


class Failed(Exception):
    def __init__(self, failures: dict[int, Exception]) -> None:
        super().__init__("training failed")
        self.worker_failures = failures


def test_the_error_of_a_worker_is_raised() -> None:
    wrapped = RuntimeError("remote trace")
    wrapped.__cause__ = InputError("no songs", where="data")
    assert str(_user_error(Failed({0: RuntimeError("connection reset"), 1: wrapped}))) == "data: no songs"
    lost = _user_error(Failed({1: RuntimeError("first line\nThe actor died")}))
    assert isinstance(lost, TrainingError)
    assert "a worker was lost: The actor died; --resume goes on" in str(lost)
