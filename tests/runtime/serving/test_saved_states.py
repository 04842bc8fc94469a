"""States of unfinished songs, on disk: written, read, ended and swept."""

from __future__ import annotations

import os
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load, save

from acestep_flows.errors import InputError, StorageError
from acestep_flows.runtime.serving.saved_states import STALE_SECONDS, SavedStates
from acestep_flows.sampling.trajectory import State, Trajectory


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


def test_a_state_with_any_flipped_bit_is_none(tmp_path: Path) -> None:
    states = SavedStates(tmp_path)
    states.write("a", state(3))
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    dice = random.Random(1)
    for position in [*range(0, len(whole), 97), *(dice.randrange(len(whole)) for _ in range(100))]:
        changed = bytearray(whole)
        changed[position] ^= 1 << dice.randrange(8)
        file.write_bytes(changed)
        assert states.read("a") is None, position
    file.write_bytes(whole)
    assert states.read("a") is not None


def test_a_state_of_an_earlier_version_has_no_digest_and_is_read(tmp_path: Path) -> None:
    states = SavedStates(tmp_path)
    states.write("a", state(3))
    (file,) = tmp_path.iterdir()
    file.write_bytes(save(load(file.read_bytes())))
    assert states.read("a") is not None


ODD = {
    "other tensors": save({"step": torch.ones(3), "latents": torch.ones(1), "preview": torch.ones(1)}),
    "no number": save({"step": torch.ones(()), "latents": torch.ones(()), "preview": torch.ones(2)}),
    "nested": b"\x40\x0d\x03\0\0\0\0\0" + b'{"a":' * 40_000,
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_an_odd_state_is_none_or_refused_by_its_song(tmp_path: Path, content: bytes) -> None:
    states = SavedStates(tmp_path)
    (tmp_path / "a.state").write_bytes(content)
    found = states.read("a")
    if found is not None:
        with pytest.raises(InputError, match="state"):
            Trajectory.check(SimpleNamespace(steps=9, frames=2), found)  # type: ignore[arg-type]  # all it looks at


def test_what_is_no_file_is_none(tmp_path: Path) -> None:
    states = SavedStates(tmp_path)
    os.mkfifo(tmp_path / "pipe.state")
    (tmp_path / "zero.state").symlink_to("/dev/zero")
    (tmp_path / "folder.state").mkdir()
    assert [states.read(key) for key in ("pipe", "zero", "folder")] == [None] * 3


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
