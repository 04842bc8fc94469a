"""Clips are made once and are the same for every process; a bad file is skipped."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acestep_flows.audio import write
from acestep_flows.errors import InputError
from acestep_flows.training.data import clips
from acestep_flows.training.data.clips import FULL_SCALE, ClipSettings, ClipSource
from acestep_flows.values import MODEL_RATE, Audio, FloatArray


def settings(tmp_path: Path, **changes: Any) -> ClipSettings:
    values = {"clips": 6, "held_out": 2, "seconds": 3.0, "workers": 0, "cache": tmp_path / "cache"} | changes
    return ClipSettings(**values)


def noise(seconds: float, rate: int = 48000, channels: int = 2, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    return Audio((0.1 * rng.standard_normal((channels, round(seconds * rate)))).astype(np.float32), rate)


@pytest.fixture
def made_clips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Clips with a constant value that tells their number. Returns the list of the clips made so far."""
    numbers: list[int] = []

    def make(index: int) -> FloatArray:
        numbers.append(index)
        return np.full((2, 3 * MODEL_RATE), (index + 1) / 100, np.float32)

    monkeypatch.setattr(clips, "maker", lambda settings: make)
    return numbers


def test_a_clip_is_made_once(tmp_path: Path, made_clips: list[int]) -> None:
    source = ClipSource(settings(tmp_path))
    first = source.clip(3)
    np.testing.assert_allclose(first / FULL_SCALE, 0.04, atol=1 / FULL_SCALE)
    assert np.array_equal(source.clip(3), first)
    assert np.array_equal(ClipSource(settings(tmp_path)).clip(3), first)
    assert made_clips == [3]


@pytest.mark.parametrize("keep", [0, 40, 200])
def test_a_damaged_clip_is_made_again(tmp_path: Path, made_clips: list[int], keep: int) -> None:
    source = ClipSource(settings(tmp_path))
    expected = np.array(source.clip(1))
    file = next(source.folder.rglob("*.npy"))
    file.write_bytes(file.read_bytes()[:keep])
    assert np.array_equal(source.clip(1), expected)
    assert made_clips == [1, 1]


def test_cuts_depend_on_seed_and_batch(tmp_path: Path, made_clips: list[int]) -> None:
    source = ClipSource(settings(tmp_path))
    cuts = source.cuts(1, 4, 3, 1000)
    assert cuts.shape == (3, 2, 1000)
    assert np.array_equal(cuts, ClipSource(settings(tmp_path)).cuts(1, 4, 3, 1000))
    assert not np.array_equal(cuts, source.cuts(1, 5, 3, 1000))
    assert not np.array_equal(cuts, source.cuts(2, 4, 3, 1000))


def test_the_set_grows_and_leaves_held_out_clips_out(
    tmp_path: Path, made_clips: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips, "AT_FIRST", 2)
    monkeypatch.setattr(clips, "PER_BATCH", 1)
    source = ClipSource(settings(tmp_path))
    source.cuts(0, 0, 30, 10)
    assert set(made_clips) == {0, 1}
    source.cuts(0, 100, 60, 10)
    assert set(made_clips) == set(range(6))
    assert len(source.held_out()) == 2
    assert set(made_clips) == set(range(8))


def test_settings_that_do_not_change_clips(tmp_path: Path) -> None:
    plain = settings(tmp_path)
    assert settings(tmp_path, workers=3, clips=50).digest == plain.digest
    assert settings(tmp_path, stems=0.0).digest != plain.digest


def test_synthetic_clips(tmp_path: Path) -> None:
    source = ClipSource(settings(tmp_path, stems=0.5))
    clips = [source.clip(index) for index in range(2)]
    assert all(clip.shape == (2, 3 * MODEL_RATE) and np.abs(clip).max() > 300 for clip in clips)
    assert not np.array_equal(clips[0], clips[1])


def test_workers_make_all_clips_and_exit(tmp_path: Path) -> None:
    (tmp_path / "songs").mkdir()
    write.audio(tmp_path / "songs" / "one.wav", noise(4))
    source = ClipSource(settings(tmp_path, kind="folder", folder=tmp_path / "songs", workers=1, clips=2, held_out=1))
    with source.filling():
        workers = multiprocessing.active_children()
        for worker in workers:
            worker.join(120)
    assert [worker.exitcode for worker in workers] == [0]
    assert not any(source.missing(index) for index in range(3))


def test_a_folder_of_audio(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "songs" / "deep"
    folder.mkdir(parents=True)
    write.audio(folder / "long.wav", noise(7))
    write.audio(folder / "short.flac", noise(1, rate=22050, channels=1))
    write.audio(folder / "silent.wav", Audio(np.zeros((2, 48000 * 4), np.float32), 48000))
    (folder / "broken.mp3").write_bytes(b"no music at all")
    (folder / "notes.txt").write_text("not audio")
    source = ClipSource(settings(tmp_path, kind="folder", folder=tmp_path / "songs", clips=20))
    with caplog.at_level(logging.WARNING):
        clips = [np.array(source.clip(index)) for index in range(20)]
    assert all(clip.shape == (2, 3 * MODEL_RATE) and np.abs(clip).max() > 1000 for clip in clips)
    left_out = [record.getMessage() for record in caplog.records]
    assert sum("silent.wav" in text for text in left_out) == 1
    assert sum("broken.mp3" in text for text in left_out) == 1
    assert len(left_out) == 2


def replace_quietly(file: Path) -> None:
    """Replace a file by another of the same size and time, as a copy that keeps times does."""
    status, content = file.stat(), bytearray(file.read_bytes())
    content[-100] ^= 1
    other = file.with_name("other")
    other.write_bytes(content)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(file)
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)


def songs(folder: Path) -> Path:
    """Two recordings, one that is silent except for its end, and one that cannot be read."""
    folder.mkdir()
    for name, seed in (("a", 1), ("b", 2)):
        write.audio(folder / f"{name}.wav", noise(5, seed=seed))
    mostly = np.zeros((2, 48000 * 40), np.float32)
    mostly[:, -48000 * 9 :] = noise(9, seed=3).samples
    write.audio(folder / "mostly-silent.wav", Audio(mostly, 48000))
    (folder / "broken.mp3").write_bytes(b"no music at all")
    return folder


def test_a_clip_of_a_folder_depends_on_its_number_alone(tmp_path: Path) -> None:
    folder = songs(tmp_path / "songs")
    first, second = (settings(tmp_path, kind="folder", folder=folder, cache=tmp_path / name) for name in "xy")
    ascending, descending = ClipSource(first), ClipSource(second)
    clips = [np.array(ascending.clip(index)) for index in range(8)]
    for index in reversed(range(8)):
        assert np.array_equal(descending.clip(index), clips[index])


def test_the_digest_changes_with_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = songs(tmp_path / "songs")
    source_settings = settings(tmp_path, kind="folder", folder=folder)
    before, content = source_settings.digest, source_settings.content
    monkeypatch.chdir(tmp_path)
    assert settings(tmp_path, kind="folder", folder=Path("songs")).digest == before
    write.audio(folder / "a.wav", noise(6, seed=9))
    assert source_settings.digest != before
    shutil.copytree(folder, tmp_path / "moved")  # keeps modification times
    changed = source_settings.content
    assert changed != content
    assert settings(tmp_path, kind="folder", folder=tmp_path / "moved").content == changed
    (folder / "notes.txt").write_text("not audio")
    assert source_settings.content == changed


def test_the_digest_changes_with_content_of_equal_size_and_time(tmp_path: Path) -> None:
    folder = songs(tmp_path / "songs")
    source_settings = settings(tmp_path, kind="folder", folder=folder)
    before, former = source_settings.digest, source_settings.former_digest
    replace_quietly(folder / "a.wav")
    assert source_settings.digest != before
    assert source_settings.former_digest == former, "0.1.0 would not have noticed"


def test_clips_of_0_1_0_are_taken_over_once(tmp_path: Path, made_clips: list[int]) -> None:
    source_settings = settings(tmp_path, kind="folder", folder=songs(tmp_path / "songs"))
    stored = ClipSource(source_settings)
    stored.clip(0)
    former = stored.folder.rename(stored.folder.parent / f"clips-{source_settings.former_digest[:16]}")
    source = ClipSource(source_settings)
    source.clip(0)
    assert made_clips == [0], "it is there"
    assert not former.exists()
    replace_quietly(tmp_path / "songs" / "a.wav")
    ClipSource(source_settings).clip(0)
    assert made_clips == [0, 0], "it was made of something else"


def test_the_digest_changes_with_the_synthesis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings(tmp_path).digest
    monkeypatch.setattr("acestep_flows.training.synthesis.VERSION", 10**6)
    assert settings(tmp_path).digest != before


def test_a_batch_is_described_by_its_clips(tmp_path: Path, made_clips: list[int]) -> None:
    source = ClipSource(settings(tmp_path))
    source.cuts(1, 4, 3, 1000)
    numbers = ", ".join(map(str, sorted(set(made_clips))))
    assert source.describe(1, 4, 3, 1000) == f"cuts of clips {numbers} in {source.folder}"


def test_folders_without_usable_audio_are_refused(tmp_path: Path) -> None:
    empty, broken = tmp_path / "empty", tmp_path / "broken"
    empty.mkdir()
    broken.mkdir()
    (broken / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match="no such folder"):
        ClipSource(settings(tmp_path, kind="folder", folder=tmp_path / "none"))
    with pytest.raises(InputError, match="no audio files"):
        ClipSource(settings(tmp_path, kind="folder", folder=empty))
    with pytest.raises(InputError, match="none of 1"):
        ClipSource(settings(tmp_path, kind="folder", folder=broken)).clip(0)
