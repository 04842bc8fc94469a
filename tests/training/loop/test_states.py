"""States are whole or absent, and curves continue from them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from acestep_flows.errors import CheckpointError, StorageError
from acestep_flows.training.loop.curve import LossCurve, draw, read
from acestep_flows.training.loop.states import States


def test_states_are_saved_and_read(tmp_path: Path) -> None:
    states = States(tmp_path / "states", keep=2)
    assert states.steps() == []
    for step in (5, 10, 15):
        states.save(step, {"weights": {"a": torch.full((2,), float(step))}})
    assert states.steps() == [10, 15]
    assert torch.equal(states.load(15)["weights"]["a"], torch.full((2,), 15.0))


def test_unfinished_files_of_a_kill_are_removed(tmp_path: Path) -> None:
    states = States(tmp_path, keep=2)
    (tmp_path / ".0123456789ab.part").write_bytes(b"half")
    states.save(1, {})
    assert [file.name for file in tmp_path.iterdir()] == ["step-00000001.pt"]


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_file_that_is_no_state_is_refused(tmp_path: Path, content: bytes | None) -> None:
    states = States(tmp_path, keep=2)
    states.save(3, {"weights": {}})
    if content is None:
        states.path(3).rename(states.path(4))  # a state of step 3 under another name
    else:
        states.path(3).rename(states.path(4))
        states.path(4).write_bytes(content)
    with pytest.raises(CheckpointError, match="no state"):
        states.load(4)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "states").write_text("a file")
    with pytest.raises(StorageError, match="cannot be written"):
        States(tmp_path / "states", keep=1).save(1, {})


def test_a_curve_continues_from_the_step_of_the_state(tmp_path: Path) -> None:
    path = tmp_path / "curve.jsonl"
    curve = LossCurve(path, 0)
    for step in (1, 2, 3):
        curve.add({"step": step, "loss": 1 / step, "lr": 0.1})
    with path.open("a") as file:
        file.write('{"step": 4, "lo')  # killed while writing
    assert [line["step"] for line in read(path)] == [1, 2, 3]
    LossCurve(path, 2).add({"step": 3, "loss": 0.3, "lr": 0.1})
    assert [line["loss"] for line in read(path)] == [1, 0.5, 0.3]
    draw(path, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_an_empty_curve_is_drawn(tmp_path: Path) -> None:
    draw(tmp_path / "none.jsonl", tmp_path / "curve.png")
    assert (tmp_path / "curve.png").is_file()
