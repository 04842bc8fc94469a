"""Synthetic clips on disk have upstream's layout, and an interrupted call can be repeated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from acestep_flows.errors import InputError, StorageError
from acestep_flows.training.synthesis import compose, render
from acestep_flows.training.synthesis.folder import write_folder


def test_each_clip_has_tags_lyrics_and_truth(tmp_path: Path) -> None:
    paths = write_folder(tmp_path, 2, seed=7, seconds=3.5, stems=True, vocal="female")
    assert [path.name for path in paths] == ["synthetic-00000007.flac", "synthetic-00000008.flac"]
    piece = render(compose(7, seconds=3.5, vocal="female"))
    samples, rate = soundfile.read(paths[0], dtype="float32")
    assert rate == 44100
    assert np.abs(samples.T - piece.mix).max() < 1e-4
    assert (tmp_path / "synthetic-00000007_prompt.txt").read_text() == piece.tags
    assert (tmp_path / "synthetic-00000007_lyrics.txt").read_text() == piece.lyrics
    assert json.loads((tmp_path / "synthetic-00000007_truth.json").read_text())["tempo"] == piece.truth.tempo
    stems = [soundfile.read(path)[0] for path in sorted(tmp_path.glob("synthetic-00000007.*.flac"))]
    assert len(stems) == len(piece.stems)
    assert np.abs(np.sum(stems, axis=0) - samples).max() < 3e-4


def test_existing_clips_are_not_changed(tmp_path: Path) -> None:
    (first,) = write_folder(tmp_path, 1, seconds=3.0)
    before = first.stat().st_mtime_ns
    counts: list[int] = []
    write_folder(tmp_path, 2, seconds=3.0, watch=counts.append)
    assert first.stat().st_mtime_ns == before
    assert counts == [1, 2]
    assert not list(tmp_path.glob(".*"))


def test_invalid_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        write_folder(tmp_path, 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_folder(tmp_path / "file", 1)
