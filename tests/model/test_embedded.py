"""The embedded checkpoint: made once, complete or not there at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from safetensors import SafetensorError

from acestep_flows.errors import StorageError
from acestep_flows.model import embedded as module
from acestep_flows.model.checkpoint import PARTS, Checkpoint
from acestep_flows.model.embedded import embedded_checkpoint


def test_it_is_made_on_first_use_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = embedded_checkpoint(tmp_path / "cache")
    Checkpoint.open(folder)
    assert "Untrained" in (folder / "README.txt").read_text()
    monkeypatch.setattr(module, "write_random_checkpoint", lambda *_: pytest.fail("made a second time"))
    assert embedded_checkpoint(tmp_path / "cache") == folder


def test_of_several_that_make_it_at_once_one_wins(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        folders = set(pool.map(lambda _: embedded_checkpoint(tmp_path), range(3)))
    assert len(folders) == 1
    (folder,) = folders
    assert [entry.name for entry in folder.parent.iterdir()] == [folder.name], "nothing unfinished is left"
    Checkpoint.open(folder).digest(PARTS[0])


def test_an_interrupted_making_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(folder: Path, *_: object) -> None:
        (folder / "half").write_text("written")
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_random_checkpoint", stop)
    with pytest.raises(KeyboardInterrupt):
        embedded_checkpoint(tmp_path)
    assert not list((tmp_path / "embedded").iterdir())


def test_a_cache_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"cannot make the embedded model here: .+$"):
        embedded_checkpoint(tmp_path / "file")


def test_a_full_disk_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(folder: Path, *_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(module, "write_random_checkpoint", fill)
    with pytest.raises(StorageError, match="cannot write the embedded model: .*No space left"):
        embedded_checkpoint(tmp_path)
    assert not list((tmp_path / "embedded").iterdir())
