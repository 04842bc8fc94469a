"""Choices that decide last digits: made once on a machine, the same for all processes that share a cache."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path

import pytest

from acestep_flows.model import kept_choice
from acestep_flows.model.kept_choice import FOLDER, choose, follow_choices_in, keep_choices_in

WAYS = ("torch", "onednn")


@pytest.fixture(autouse=True)
def own_choices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    new_process(monkeypatch)
    keep_choices_in(tmp_path)


def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this process knows, as another one does not know it."""
    monkeypatch.setattr(kept_choice, "_choices", kept_choice._Choices())


def never() -> str:
    raise AssertionError("it was chosen before")


def the_file(folder: Path) -> Path:
    (file,) = (folder / FOLDER).iterdir()
    return file


def test_the_next_process_takes_what_the_first_has_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert choose("products", WAYS, lambda: "onednn") == "onednn"
    assert choose("products", WAYS, never) == "onednn"
    new_process(monkeypatch)
    keep_choices_in(tmp_path)
    assert choose("products", WAYS, never) == "onednn"
    assert choose("attention", WAYS, lambda: "torch") == "torch", "of another name"


def test_a_process_that_only_follows_writes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    follow_choices_in(tmp_path)
    assert choose("products", WAYS, lambda: "torch") == "torch"
    assert not list(tmp_path.iterdir())
    new_process(monkeypatch)
    keep_choices_in(tmp_path)
    choose("products", WAYS, lambda: "onednn")
    new_process(monkeypatch)
    follow_choices_in(tmp_path)
    assert choose("products", WAYS, never) == "onednn"


def test_processes_that_measure_at_once_agree(tmp_path: Path) -> None:
    measured: Iterator[str] = cycle(WAYS)

    def process(_: int) -> str:
        choices = kept_choice._Choices()
        choices.cache = tmp_path
        return choices.choose("products", WAYS, lambda: next(measured))

    with ThreadPoolExecutor(16) as processes:
        assert len(set(processes.map(process, range(64)))) == 1
    assert the_file(tmp_path).read_text().strip() in WAYS


@pytest.mark.parametrize("content", [b"", b"another\n", b"\xff\x00", b"onednn torch"])
def test_a_damaged_file_is_written_anew(content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    choose("products", WAYS, lambda: "onednn")
    the_file(tmp_path).write_bytes(content)
    new_process(monkeypatch)
    keep_choices_in(tmp_path)
    assert choose("products", WAYS, lambda: "torch") == "torch"
    assert the_file(tmp_path).read_text() == "torch\n"


def test_another_processor_or_torch_chooses_for_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    choose("products", WAYS, lambda: "onednn")
    new_process(monkeypatch)
    keep_choices_in(tmp_path)
    monkeypatch.setattr(kept_choice, "version", lambda name: "99.0")
    assert choose("products", WAYS, lambda: "torch") == "torch"


def test_a_folder_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    new_process(monkeypatch)
    keep_choices_in(tmp_path / "file")
    assert choose("products", WAYS, lambda: "onednn") == "onednn"
    new_process(monkeypatch)
    assert choose("products", WAYS, lambda: "torch") == "torch", "no folder"
