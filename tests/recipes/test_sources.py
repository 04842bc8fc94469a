"""Files that a recipe names are found again: by path, beside the recipe, elsewhere, by content, in the cache."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from acestep_flows.audio import read
from acestep_flows.errors import InputError
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.input_reader import InputReader
from acestep_flows.recipes import sources
from acestep_flows.recipes.sources import BY_INPUT, SourceFinder
from acestep_flows.recipes.stored_recipe import FileInput
from acestep_flows.value_file import encode_value
from acestep_flows.values import Audio, Latents

LATENTS = Latents(np.ones((8, 16, 2), np.float32))


def write_song(path: Path, level: float = 0.5) -> Audio:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.linspace(-level, level, 4800), 48_000)
    return read.audio(path)


@pytest.fixture
def song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audio:
    monkeypatch.chdir(tmp_path)
    return write_song(tmp_path / "outputs" / "song.wav")


def wanted(song: Audio, *paths: str) -> FileInput:
    return FileInput("audio", song.digest, paths or ("outputs/song.wav",))


def test_a_file_at_its_old_path(song: Audio) -> None:
    finder = SourceFinder(InputReader())
    assert finder.find(wanted(song), "source") == song
    assert finder.reader.files[song.digest] == "outputs/song.wav"


@pytest.mark.parametrize("place", ["here/song.wav", "here/outputs/song.wav"])
def test_a_file_that_moved_with_the_recipe(song: Audio, tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(parents=True)
    shutil.move("outputs/song.wav", place)
    assert SourceFinder(InputReader(), tmp_path / "here").find(wanted(song), "source") == song


def test_a_file_with_another_name_is_known_by_its_content(song: Audio, tmp_path: Path) -> None:
    os.rename("outputs/song.wav", "outputs/first try.wav")
    write_song(tmp_path / "outputs" / "other.wav", 0.3)
    (tmp_path / "outputs" / "broken.wav").write_bytes(b"no audio")
    assert SourceFinder(InputReader()).find(wanted(song), "source") == song
    (tmp_path / "library").mkdir()
    shutil.move("outputs/first try.wav", "library/x.wav")
    with pytest.raises(InputError):
        SourceFinder(InputReader()).find(wanted(song), "source")
    assert SourceFinder(InputReader(), folders=[tmp_path / "library"]).find(wanted(song), "source") == song


def test_a_copy_of_a_file_that_changed(song: Audio, tmp_path: Path) -> None:
    shutil.copy("outputs/song.wav", "outputs/song copy.wav")
    write_song(tmp_path / "outputs" / "song.wav", 0.2)
    assert SourceFinder(InputReader()).find(wanted(song), "source") == song


def test_a_value_in_the_cache(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "results")
    store.write("ab" * 32, {"latents": LATENTS, "steps": 3}, "sample")
    file = FileInput("latents", LATENTS.digest)
    assert SourceFinder(InputReader(), store=store).find(file, "latents") == LATENTS
    assert store.find("latents", "0" * 64) is None
    assert store.find("audio", LATENTS.digest) is None
    store.path("ab" * 32).write_bytes(b"damaged")
    assert store.find("latents", LATENTS.digest) is None


def test_latents_are_found_among_safetensors(tmp_path: Path) -> None:
    (tmp_path / "renamed.safetensors").write_bytes(encode_value(LATENTS))
    file = FileInput("latents", LATENTS.digest, ("song-latents.safetensors",))
    assert SourceFinder(InputReader(), tmp_path).find(file, "source") == LATENTS


def test_what_is_missing_is_named_with_digest_place_and_remedy(song: Audio, tmp_path: Path) -> None:
    os.remove("outputs/song.wav")
    paths = ("outputs/song.wav", str(tmp_path / "outputs" / "song.wav"))
    with pytest.raises(InputError) as error:
        SourceFinder(InputReader(), tmp_path, advice=BY_INPUT).find(wanted(song, *paths), "stems[2]")
    assert str(error.value) == (
        f"stems[2]: song.wav is missing, audio with digest {song.digest[:16]}; it was outputs/song.wav ({paths[1]}) "
        "(allowed: --set stems=FILE, or --sources FOLDER with the file under any name)"
    )


def test_a_file_that_changed_and_one_that_was_never_a_file(song: Audio, tmp_path: Path) -> None:
    write_song(tmp_path / "outputs" / "song.wav", 0.2)
    with pytest.raises(InputError, match=r"^stems\[0\]: outputs/song\.wav has changed since the recipe was written"):
        SourceFinder(InputReader()).inputs({"stems": [wanted(song)]})
    with pytest.raises(InputError, match=r"^source: the recipe names no file for this audio, audio with digest"):
        SourceFinder(InputReader()).find(FileInput("audio", song.digest), "source")


@pytest.mark.parametrize("path", ["", "\0", "x" * 300 + ".wav", "~nobody-of-this-name/song.wav", "."])
def test_odd_paths_are_of_no_file(song: Audio, path: str) -> None:
    with pytest.raises(InputError, match=r"^source: "):
        SourceFinder(InputReader()).find(FileInput("audio", "0" * 64, (path,)), "source")


def test_a_search_reads_a_limited_number_of_files(song: Audio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MOST_READ", 2)
    os.rename("outputs/song.wav", "outputs/old.wav")
    os.utime("outputs/old.wav", (1, 1))
    for number in range(3):
        write_song(tmp_path / "outputs" / f"{number}.wav", 0.1 * number + 0.1)
    with pytest.raises(InputError, match="is missing"):
        SourceFinder(InputReader()).find(wanted(song), "source")
