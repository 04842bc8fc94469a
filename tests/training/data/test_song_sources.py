"""Songs from recordings and synthesis; a fault of one song is an error of that song alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from acestep_flows.errors import InputError
from acestep_flows.training.data.song import prepare_recording, split_tags
from acestep_flows.training.data.sources import FolderSettings, SynthesisSettings, add_rests, open_source
from acestep_flows.values import Audio


def noise(seconds: float, rate: int = 44_100, channels: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.3, 0.3, (channels, round(seconds * rate))).astype(np.float32)


def write_song(
    folder: Path, name: str, *, tags: str | None = "house, 120 bpm", lyrics: str | None = " la\nla "
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sf.write(folder / f"{name}.wav", noise(3.5).T, 44_100)
    for ending, text in (("prompt", tags), ("lyrics", lyrics)):
        if text is not None:
            (folder / f"{name}_{ending}.txt").write_text(text)


def test_folder_of_recordings(tmp_path: Path) -> None:
    write_song(tmp_path, "a")
    write_song(tmp_path / "deeper", "b")
    write_song(tmp_path, "c", lyrics=None)
    (tmp_path / "d.mp3").write_bytes(b"not music")
    (tmp_path / "d_prompt.txt").write_text("x")
    (tmp_path / "d_lyrics.txt").write_text("")
    source = open_source(FolderSettings(path=tmp_path))
    keys = [source.key(index) for index in range(len(source))]
    assert keys == ["a", "c", "d", "deeper/b"]
    song = source.song(0)
    assert (song.tags, song.lyrics) == (("house", "120 bpm"), "la\nla")
    assert (song.tracks["mix"].sample_rate, song.tracks["mix"].samples.shape) == (48_000, (2, 168_000))
    with pytest.raises(InputError, match=r"no c_lyrics\.txt"):
        source.song(1)
    with pytest.raises(InputError):
        source.song(2)


def test_stems_beside_a_recording(tmp_path: Path) -> None:
    write_song(tmp_path, "a")
    for stem in ("vocal", "drums"):
        sf.write(tmp_path / f"a.{stem}.wav", noise(3.5, seed=len(stem)).T, 44_100)
    source = open_source(FolderSettings(path=tmp_path))
    assert len(source) == 1
    tracks = source.song(0).tracks
    assert set(tracks) == {"mix", "vocal", "drums", "without vocal", "without drums"}
    np.testing.assert_array_equal(tracks["without vocal"].samples, tracks["drums"].samples)


def test_a_stamp_depends_on_the_files_of_its_song_alone(tmp_path: Path) -> None:
    def stamps(folder: Path) -> list[str]:
        source = open_source(FolderSettings(path=folder))
        return [source.stamp(index) for index in range(len(source))]

    for name in ("a", "b"):
        write_song(tmp_path / "songs", name)
    sf.write(tmp_path / "songs" / "a.vocal.wav", noise(3.5).T, 44_100)
    before = stamps(tmp_path / "songs")
    shutil.copytree(tmp_path / "songs", tmp_path / "moved")  # with its times
    assert stamps(tmp_path / "moved") == before
    for change, content in (("a.vocal.wav", b"other"), ("a_prompt.txt", b"rock"), ("a_lyrics.txt", b"other words")):
        (tmp_path / "songs" / change).write_bytes(content)
        after = stamps(tmp_path / "songs")
        assert after[0] != before[0], change
        assert after[1] == before[1]
        before = after
    synthetic = open_source(SynthesisSettings(count=2))
    assert synthetic.stamp(0) == synthetic.stamp(1) != ""


def test_a_stamp_goes_by_content(tmp_path: Path) -> None:
    write_song(tmp_path, "a")
    source, lyrics = open_source(FolderSettings(path=tmp_path)), tmp_path / "a_lyrics.txt"
    before, former, status = source.stamp(0), source.former_stamp(0), lyrics.stat()
    lyrics.write_text(lyrics.read_text()[::-1].replace("la", "al").replace("\n", " "))
    os.utime(lyrics, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert source.former_stamp(0) == former, "the same size and time"
    assert source.stamp(0) != before
    assert source.has_stamp(0, former), "0.1.0 knew no better"
    assert not source.has_stamp(0, before)
    now = source.stamp(0)
    os.utime(lyrics)
    assert source.stamp(0) == now, "the same content at another time"
    assert source.has_stamp(0, now)
    assert not source.has_stamp(0, former)


def test_every_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_song(tmp_path, "a")
    for file in tmp_path.iterdir():
        os.utime(file, (1, 1))
    monkeypatch.setattr("acestep_flows.model.digests.SETTLED_NS", 0)
    source, opened, open_file = open_source(FolderSettings(path=tmp_path)), [], Path.open

    def counted(self: Path, *args: Any, **kwargs: Any) -> Any:
        opened.append(self)
        return open_file(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", counted)
    assert len({source.stamp(0) for _ in range(5)}) == 1
    assert len(opened) == len(set(opened)) == 3


def test_a_pipe_and_a_file_that_cannot_be_read_stop_no_stamp(tmp_path: Path) -> None:
    write_song(tmp_path, "a")
    source = open_source(FolderSettings(path=tmp_path))
    (tmp_path / "a_lyrics.txt").unlink()
    os.mkfifo(tmp_path / "a_lyrics.txt")
    assert source.stamp(0)


@pytest.mark.parametrize("path", ["missing", "."])
def test_a_folder_without_audio_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(InputError, match="no such folder|no audio files"):
        open_source(FolderSettings(path=tmp_path / path))


def test_a_folder_of_tables_names_their_kind(tmp_path: Path) -> None:
    (tmp_path / "songs.parquet").write_bytes(b"")
    with pytest.raises(InputError, match="no audio files, but parquet .allowed: source.kind: parquet"):
        open_source(FolderSettings(path=tmp_path))


def test_a_recording_is_prepared() -> None:
    short = prepare_recording(Audio(noise(1.0, 22_050, 1), 22_050), "x")
    assert short.samples.shape == (2, 3 * 48_000)
    assert not short.samples[:, -48_000:].any()
    loud = prepare_recording(Audio(20 * noise(4.0), 44_100), "x")
    assert float(np.abs(loud.samples).max()) == 1.0
    with pytest.raises(InputError, match="silent"):
        prepare_recording(Audio(np.zeros((2, 44_100 * 4), np.float32), 44_100), "x")
    long = prepare_recording(Audio(np.full((1, 1000 * 260), 0.1, np.float32), 1000), "x")
    assert long.seconds == 240


def test_a_synthetic_song_depends_on_seed_and_number_alone() -> None:
    settings = SynthesisSettings(count=5, seed=2, seconds={1.0: 0.5, 2.0: 0.5}, stems=1.0)
    first, second = (open_source(settings).song(3) for _ in range(2))
    assert first.key == "synthetic-2-3"
    assert (first.tags, first.lyrics, set(first.tracks)) == (second.tags, second.lyrics, set(second.tracks))
    for name, track in first.tracks.items():
        np.testing.assert_array_equal(track.samples, second.tracks[name].samples)
    stems = [name for name in first.tracks if name != "mix" and not name.startswith("without ")]
    summed = np.sum([first.tracks[name].samples for name in stems], axis=0)
    np.testing.assert_allclose(summed, first.tracks["mix"].samples, atol=1e-5)


def test_the_rest_without_a_stem() -> None:
    sounds = {name: Audio(noise(0.1, seed=number), 44_100) for number, name in enumerate(("mix", "a", "b", "c"))}
    rests = add_rests(sounds)
    np.testing.assert_allclose(rests["without a"].samples, sounds["b"].samples + sounds["c"].samples, atol=1e-6)
    assert set(add_rests({name: sounds[name] for name in ("mix", "a")})) == {"mix", "a"}
    with pytest.raises(InputError, match="differ in length"):
        add_rests(sounds | {"c": Audio(noise(0.2), 44_100)})


def test_tags_are_split_at_commas() -> None:
    assert split_tags(" house,  124 bpm,,A minor\n") == ("house", "124 bpm", "A minor")


def test_synthetic_songs_with_beats_and_voices() -> None:
    settings = SynthesisSettings(
        count=6, seed=3, seconds={2.0: 1.0}, vocals=0.5, beats=1.0, voices=1.0, steady_voice=True
    )
    for index in range(6):
        song = open_source(settings).song(index)
        assert set(song.tracks) - {"mix", "vocal"} == {"beat"}
        assert ("vocal" in song.tracks) == bool(song.lyrics)
        beat = song.tracks["beat"].samples
        assert beat.shape == song.tracks["mix"].samples.shape
        assert 0.01 < np.abs(beat).max() <= 1.0
    again = open_source(settings).song(5)
    np.testing.assert_array_equal(again.tracks["beat"].samples, beat)


def test_the_other_settings_of_a_song_do_not_depend_on_these() -> None:
    plain, beating = (open_source(SynthesisSettings(count=1, seconds={1.0: 1.0}, beats=beats)) for beats in (0.0, 1.0))
    np.testing.assert_array_equal(plain.song(0).tracks["mix"].samples, beating.song(0).tracks["mix"].samples)
