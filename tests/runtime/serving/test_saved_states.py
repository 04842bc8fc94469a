"""States of unfinished songs, on disk: written, read, ended and swept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from acestep_flows.errors import StorageError
from acestep_flows.runtime.serving.saved_states import STALE_SECONDS, SavedStates
from acestep_flows.sampling.trajectory import State


def state(step: int) -> State:
    return State(step, torch.full((8, 16, 2), float(step)), torch.zeros(8, 16, 2), {"momentum": torch.ones(3)})


def test_the_last_state_is_kept(tmp_path: Path) -> None:
    states = SavedStates(tmp_path / "states")
    assert states.read("a") is None
    states.write("a", state(3))
    states.write("a", state(6))
    again = states.read("a")
    assert again is not None
    assert again.step == 6
    assert torch.equal(again.latents, state(6).latents)
    assert torch.equal(again.memory["momentum"], torch.ones(3))
    assert states.read("b") is None


def test_the_states_of_calls_that_are_over_are_gone(tmp_path: Path) -> None:
    states = SavedStates(tmp_path)
    states.write("a", state(3))
    states.write("b", state(3))
    states.write("c", state(3))
    for _ in range(2):
        states.end(["a", "b"])
    assert [states.read(key) is not None for key in "abc"] == [False, False, True]


@pytest.mark.parametrize("content", [b"", b"nonsense", state(3).save()[:-40]])
def test_a_damaged_state_is_none(tmp_path: Path, content: bytes) -> None:
    states = SavedStates(tmp_path)
    states.write("a", state(3))
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert states.read("a") is None


def test_old_states_are_cleared_away(tmp_path: Path) -> None:
    states = SavedStates(tmp_path)
    for key in ("old", "young"):
        states.write(key, state(3))
    (old,) = (file for file in tmp_path.iterdir() if file.name.startswith("old"))
    past = old.stat().st_mtime - STALE_SECONDS - 1
    os.utime(old, (past, past))
    states = SavedStates(tmp_path)
    assert states.read("old") is None
    assert states.read("young") is not None


def test_the_oldest_make_room(tmp_path: Path) -> None:
    size = len(state(3).save())
    states = SavedStates(tmp_path, max_bytes=2 * size)
    for age, key in enumerate("abc"):
        states.write(key, state(3))
        os.utime(tmp_path / f"{key}.state", (1e9 - age, 1e9 - age))
    assert states.sweep(0) == 1
    assert [states.read(key) is not None for key in "abc"] == [True, True, False]
    assert states.sweep(1e9) == 1
    assert states.read("a") is not None


def test_states_are_swept_when_others_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = SavedStates(tmp_path)
    states.write("old", state(3))
    os.utime(tmp_path / "old.state", (1e9, 1e9))
    states.write("young", state(3))
    assert states.read("old") is not None, "not every time"
    monkeypatch.setattr(states, "_next_sweep", 0.0)
    states.write("young", state(6))
    assert states.read("old") is None
    assert states.read("young") is not None


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        SavedStates(tmp_path / "file").write("a", state(3))
