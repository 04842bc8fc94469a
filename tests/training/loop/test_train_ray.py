"""Training by two processes under Ray Train: the steps of one process, and nothing lost when the driver is killed."""

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
from acestep_flows.training.loop.train_ray import STOP, _cause, _Line, _WorkersLine, train
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
    chosen = parse_recipe(recipe("lora", songs, adapter={"rank": 4, "alpha": 8}, preview=quiet, loop=settings), "test")
    assert isinstance(chosen, LoraRecipe)
    return chosen


def processes_of(driver: psutil.Process) -> list[psutil.Process]:
    """Those of Ray's processes that work for the driver; its own agents notice later that it is gone."""
    children = driver.children(recursive=True)
    return [child for child in children if "ray::" in child.name() and not child.name().endswith("Agent")]


def test_two_workers_take_the_steps_of_one_and_a_killed_driver_loses_none(tmp_path: Path) -> None:
    songs, out = write_songs(tmp_path / "songs"), tmp_path / "two"
    (tmp_path / "recipe.json").write_text(recipe_of(songs, 10**6).model_dump_json())
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "recipe.json"), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as driver:
        assert driver.stdout is not None
        told = [next(driver.stdout).strip() for _ in range(3)]
        workers = processes_of(psutil.Process(driver.pid))
        driver.kill()
    assert told == ["1", "2", "3"]
    assert len(workers) >= 2
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive, "workers go on without their driver"

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


def test_too_few_batches_are_refused_before_anything_starts(tmp_path: Path) -> None:
    songs = write_songs(tmp_path / "songs")
    with pytest.raises(InputError, match="a multiple of 3"):
        train(recipe_of(songs, 4), tmp_path / "out", 3)
    assert not (tmp_path / "out").exists()


def test_the_line_carries_progress_up_and_the_wish_to_stop_down(tmp_path: Path) -> None:
    heard: list[TrainingProgress] = []
    with contextlib.closing(_Line(tmp_path, heard.append)) as line:
        assert not line.send(STOP), "nobody is there yet"
        worker = _WorkersLine(tmp_path)
        assert not worker.asked()
        worker.say(TrainingProgress(3, 9, 0.5, {"loss": 1.0}))
        until(lambda: bool(heard), line)
        assert heard[0].losses == {"loss": 1.0}
        assert line.send(STOP)
        assert worker._connection.poll(10)
        assert worker.asked()
        assert worker.asked(), "it is not forgotten"
        worker.say(TrainingOutcome(4, False, tmp_path))
        until(lambda: line.outcome is not None, line)
    assert line.outcome == TrainingOutcome(4, False, tmp_path)


def test_a_worker_whose_driver_is_gone_ends(tmp_path: Path) -> None:
    with Listener(str(tmp_path / "line"), family="AF_UNIX") as listener:
        worker = _WorkersLine(tmp_path)
        listener.accept().close()
    with pytest.raises(TrainingError, match="driver is gone"):
        worker.asked()
    with pytest.raises(TrainingError, match="driver is gone"):
        worker.say(TrainingProgress(1, 2, 0.1))


def until(done: Callable[[], bool], line: _Line) -> None:
    for _ in range(100):
        line.listen(0.1)
        if done():
            return
    raise AssertionError("nothing was heard")


class Failed(Exception):
    def __init__(self, failures: dict[int, Exception]) -> None:
        super().__init__("training failed")
        self.worker_failures = failures


def test_the_error_that_counts_is_ours() -> None:
    wrapped = RuntimeError("remote trace")
    wrapped.__cause__ = InputError("no songs", where="data")
    assert str(_cause(Failed({0: RuntimeError("connection reset"), 1: wrapped}))) == "data: no songs"
    lost = _cause(Failed({1: RuntimeError("first line\nThe actor died")}))
    assert isinstance(lost, TrainingError)
    assert "a worker was lost: The actor died; --resume goes on" in str(lost)
