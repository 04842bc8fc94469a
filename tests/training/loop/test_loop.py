"""A resumed run equals an uninterrupted one, and a run that must stop loses nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from acestep_flows.errors import CheckpointError, InputError, StorageError, TrainingError
from acestep_flows.training.loop.curve import read
from acestep_flows.training.loop.loop import TrainingProgress, train
from acestep_flows.training.loop.recipe import LoopSettings
from acestep_flows.training.loop.schedule import learning_rate
from acestep_flows.training.loop.states import States
from tests.training.toy_training import ToyTask, toy_recipe


def newest(out: Path) -> dict[str, Any]:
    states = States(out / "states", 3)
    return states.load(states.steps()[-1])


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def losses(out: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "seconds_per_step"} for line in read(out / "curve.jsonl")]


class Stop(Exception):
    """Ends a run abruptly, like a kill."""


def stop_at(step: int) -> Any:
    def watch(progress: TrainingProgress) -> None:
        if progress.step == step and not progress.text:
            raise Stop

    return watch


@pytest.mark.parametrize("stops", [[7], [5], [3, 12], [11, 13, 19]])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_resumed_equals_uninterrupted(tmp_path: Path, stops: list[int], accumulate: int) -> None:
    recipe = toy_recipe(accumulate=accumulate, warmup=4, schedule="cosine", preview_every=6)
    train(ToyTask(), recipe, tmp_path / "whole")
    for stop in stops:
        with pytest.raises(Stop):
            train(ToyTask(), recipe, tmp_path / "parts", resume=True, watch=stop_at(stop))
    outcome = train(ToyTask(), recipe, tmp_path / "parts", resume=True)
    assert outcome.finished
    assert same(newest(tmp_path / "whole"), newest(tmp_path / "parts"))
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    exported = [torch.load(tmp_path / name / "export" / "line.pt") for name in ("whole", "parts")]
    assert same(*exported)


def test_it_learns_and_writes_curves_and_previews(tmp_path: Path) -> None:
    outcome = train(ToyTask(), toy_recipe(steps=300, learning_rate=5e-2, preview_every=100), tmp_path)
    lines = [line for line in read(tmp_path / "curve.jsonl") if "loss" in line]
    assert outcome.finished
    slopes = [line["preview"]["slope"] for line in read(tmp_path / "curve.jsonl") if "preview" in line]
    assert 1.5 < slopes[-1] < 2.5  # the slope of 2 x + 1
    assert {"step", "loss", "loss_worst", "norm", "lr", "seconds_per_step"} <= lines[0].keys()
    assert sorted(path.name for path in (tmp_path / "previews").iterdir()) == [f"step-00000{n}00" for n in (1, 2, 3)]
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "recipe.json").read_text())["loop"]["steps"] == 300


def test_only_the_newest_states_are_kept(tmp_path: Path) -> None:
    train(ToyTask(), toy_recipe(save_every=2, keep=3), tmp_path)
    assert States(tmp_path / "states", 3).steps() == [16, 18, 20]


def test_the_average_is_exported(tmp_path: Path) -> None:
    train(ToyTask(), toy_recipe(), tmp_path)
    state, exported = newest(tmp_path), torch.load(tmp_path / "export" / "line.pt")
    assert torch.equal(exported["0.weight"], state["average"]["line.0.weight"])
    assert not torch.equal(exported["0.weight"], state["weights"]["line.0.weight"])


@pytest.mark.parametrize("index", [0, 8])
def test_a_loss_that_is_not_finite_leaves_the_weights_unchanged(tmp_path: Path, index: int) -> None:
    with pytest.raises(TrainingError, match=rf"points {index} .*loop.skip_bad"):
        train(ToyTask(bad=(index,)), toy_recipe(), tmp_path)
    state = newest(tmp_path)
    assert state["step"] == index
    assert all(torch.isfinite(weight).all() for weight in state["weights"].values())
    outcome = train(ToyTask(bad=(index,)), toy_recipe(skip_bad=1), tmp_path, resume=True)
    assert outcome.finished
    assert [line["left_out"] for line in read(tmp_path / "curve.jsonl") if "left_out" in line]


def test_a_gradient_that_is_not_finite_names_all_batches_of_the_step(tmp_path: Path) -> None:
    class Steep(ToyTask):
        def loss(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
            terms = super().loss(batch)
            weight = next(self.network.parameters())
            return {"loss": terms["loss"] + (0 * weight).sum().sqrt()}  # its value is 0, its slope 0 / 0

    with pytest.raises(TrainingError, match=r"gradient of one of batches 0 to 2 \(points 0; points 1; points 2\)"):
        train(Steep(), toy_recipe(accumulate=3), tmp_path)


@pytest.mark.parametrize("ahead", [0, 3])
def test_a_batch_that_cannot_be_made_is_named_and_the_state_saved(tmp_path: Path, ahead: int) -> None:
    class Gone(ToyTask):
        def batch(self, index: int) -> torch.Tensor:
            if index == 8:
                raise InputError("song 'a' cannot be read")
            return super().batch(index)

    with pytest.raises(InputError, match="song 'a'"):
        train(Gone(), toy_recipe(ahead=ahead), tmp_path)
    assert newest(tmp_path)["step"] == 8
    assert train(ToyTask(), toy_recipe(ahead=ahead), tmp_path, resume=True).finished


def test_other_content_behind_a_path_is_refused(tmp_path: Path) -> None:
    before, other = {"checkpoint": "a", "data.encoded": "b"}, {"checkpoint": "a", "data.encoded": "c"}
    train(ToyTask(content=before), toy_recipe(), tmp_path)
    with pytest.raises(InputError, match=r"what is behind data\.encoded has changed") as caught:
        train(ToyTask(content=other), toy_recipe(steps=25), tmp_path, resume=True)
    assert "\n" not in str(caught.value)
    assert train(ToyTask(content=before), toy_recipe(steps=25), tmp_path, resume=True).finished


def test_a_state_with_digests_of_0_1_0_is_resumed(tmp_path: Path) -> None:
    """They went by size and time. States from then on have the digests by content."""
    train(ToyTask(content={"source.folder": "by time"}), toy_recipe(), tmp_path)
    former, now = {"source.folder": "by time"}, {"source.folder": "by content"}
    assert train(ToyTask((), now, former), toy_recipe(steps=25), tmp_path, resume=True).finished
    assert newest(tmp_path)["content"] == now
    with pytest.raises(InputError, match=r"what is behind source\.folder has changed"):
        train(ToyTask((), {"source.folder": "other"}, former), toy_recipe(steps=30), tmp_path, resume=True)


def test_a_state_without_content_digests_is_resumed(tmp_path: Path) -> None:
    train(ToyTask(), toy_recipe(), tmp_path)
    assert train(ToyTask(content={"checkpoint": "a"}), toy_recipe(steps=25), tmp_path, resume=True).finished


def test_more_bad_batches_than_allowed_stop_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="points 9"):
        train(ToyTask(bad=(3, 5, 9)), toy_recipe(skip_bad=2), tmp_path)


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    train(ToyTask(), toy_recipe(), tmp_path)
    with pytest.raises(InputError, match="--resume"):
        train(ToyTask(), toy_recipe(), tmp_path)


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    train(ToyTask(), toy_recipe(), tmp_path)
    with pytest.raises(InputError, match="another recipe: seed changed"):
        train(ToyTask(), toy_recipe().model_copy(update={"seed": 4}), tmp_path, resume=True)
    assert train(ToyTask(), toy_recipe(steps=25), tmp_path, resume=True).step == 25


def test_other_weights_are_refused(tmp_path: Path) -> None:
    train(ToyTask(), toy_recipe(), tmp_path)
    other = ToyTask()
    other.network[3] = torch.nn.Linear(8, 2)
    with pytest.raises(CheckpointError, match="other weights"):
        train(other, toy_recipe(), tmp_path, resume=True)


def test_a_damaged_state_falls_back_to_the_one_before(tmp_path: Path) -> None:
    train(ToyTask(), toy_recipe(), tmp_path)
    path = States(tmp_path / "states", 3).path(20)
    path.write_bytes(path.read_bytes()[:500])
    texts: list[str] = []
    outcome = train(ToyTask(), toy_recipe(), tmp_path, resume=True, watch=lambda progress: texts.append(progress.text))
    assert "resumed at step 15" in texts
    assert outcome.finished


def test_what_comes_after_the_last_step_is_told(tmp_path: Path) -> None:
    told: list[TrainingProgress] = []
    train(ToyTask(), toy_recipe(steps=18), tmp_path, watch=told.append)
    last = max(number for number, progress in enumerate(told) if not progress.text)
    texts = [progress.text.partition(": slope")[0] for progress in told[last + 1 :]]
    assert texts == ["saving the state", "making a preview", "step 18", "writing the export"]


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(ToyTask(), toy_recipe(steps=10), tmp_path)

    def full(*args: Any) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc] . PytorchStreamWriter failed writing file")

    monkeypatch.setattr("acestep_flows.training.loop.states.torch.save", full)
    with pytest.raises(StorageError, match="step 10 is untouched"):
        train(ToyTask(), toy_recipe(steps=20), tmp_path, resume=True)
    monkeypatch.undo()
    assert newest(tmp_path)["step"] == 10
    assert not list((tmp_path / "states").glob(".*"))
    assert train(ToyTask(), toy_recipe(), tmp_path, resume=True).finished


def test_a_run_stops_after_the_given_minutes(tmp_path: Path) -> None:
    outcome = train(ToyTask(), toy_recipe(steps=10**6), tmp_path, minutes=0.005)
    assert not outcome.finished
    assert outcome.state.is_file()
    assert outcome.step == newest(tmp_path)["step"]


SCRIPT = """
import sys, time
from pathlib import Path
from acestep_flows.training.loop.loop import train
from tests.training.toy_training import ToyTask, toy_recipe

def watch(progress):
    if not progress.text:
        time.sleep(0.01)
        print(progress.step, flush=True)

for out in sys.argv[1:]:
    outcome = train(ToyTask(), toy_recipe(steps=40, save_every=2), Path(out), resume=True, watch=watch)
    print("finished", outcome.finished, flush=True)
"""


def run_until(step: int, signal_number: signal.Signals | None, *folders: Path) -> str:
    """Train in a process, send it a signal once it has printed `step`, and return all that it printed."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, folders)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if signal_number and line.strip() == str(step):
                process.send_signal(signal_number)
    return "".join(lines)


def test_kill_and_interrupt(tmp_path: Path) -> None:
    run_until(11, signal.SIGKILL, tmp_path / "parts")
    assert States(tmp_path / "parts" / "states", 3).steps()
    output = run_until(21, signal.SIGINT, tmp_path / "parts")
    assert "finished False" in output
    # Not in this process: thread counts must be equal, and other tests change them.
    assert run_until(0, None, tmp_path / "parts", tmp_path / "whole").count("finished True") == 2
    assert same(newest(tmp_path / "whole"), newest(tmp_path / "parts"))
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


def test_schedules() -> None:
    def rates(**settings: Any) -> list[float]:
        loop = LoopSettings(steps=10, learning_rate=1.0, warmup=2, **settings)
        return [round(learning_rate(loop, step), 3) for step in range(11)]

    assert rates(schedule="linear") == [0, 0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0]
    assert rates(schedule="constant") == [0, 0.5, *[1.0] * 9]
    assert rates(schedule="constant_then_decay", decay_share=0.4) == [0, 0.5, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]
    cosine = rates(schedule="cosine")
    assert cosine[2] == 1
    assert cosine[6] == 0.5
    assert cosine[10] == 0
    assert sorted(cosine[2:], reverse=True) == cosine[2:]


def test_batches_made_in_advance_are_the_same(tmp_path: Path) -> None:
    for ahead in (0, 3):
        train(ToyTask(), toy_recipe(ahead=ahead), tmp_path / str(ahead))
    assert same(newest(tmp_path / "0"), newest(tmp_path / "3"))


KILLED = """
import os, sys
from pathlib import Path
import matplotlib.backends.backend_agg, matplotlib.figure, torch, torch._dynamo
from acestep_flows.training.loop.loop import train
from tests.training.loop.test_loop import ExportOfThree
from tests.training.toy_training import toy_recipe

torch.set_num_threads(1)
for write in range(3):  # each in a process of its own, which ends there as if it was killed
    if not os.fork():
        train(ExportOfThree(lambda at: at == write and os._exit(9)), toy_recipe(), Path(sys.argv[1]) / str(write))
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 9
"""


class ExportOfThree(ToyTask):
    """Exports three files, and calls `before` with the number of each before writing it."""

    def __init__(self, before: Callable[[int], object] = lambda at: None) -> None:
        super().__init__()
        self._before = before

    def export(self, folder: Path) -> None:
        for at, name in enumerate(("line.pt", "text.pt", "tokenizer.json")):
            self._before(at)
            torch.save(self.network.state_dict(), folder / name)


def test_an_export_is_whole_or_absent(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    for write in range(3):
        out = tmp_path / str(write)
        assert newest(out)["step"] == 20
        assert not (out / "export").exists()
        assert train(ExportOfThree(), toy_recipe(), out, resume=True).finished
        assert sorted(file.name for file in (out / "export").iterdir()) == ["line.pt", "text.pt", "tokenizer.json"]
        assert not list(out.glob(".export*"))
