"""Statement and recipe are read back from every format, at every accepted size."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.audio import read, tags, write
from acestep_flows.audio.formats import FORMATS
from acestep_flows.audio.tags import AI_STATEMENT, LARGEST, Tags
from acestep_flows.errors import InputError
from tests.audio.signals import noisy

SOUND = noisy(0.1)
RECIPE = {
    "graph": "text2music",
    "seed": 7,
    "lyrics": "[verse]\nHéllo 漢字 😀 \ud800 \x00 \r\n",
    "nested": {"a": [1.5, None]},
}


def encoded(name: str, file_tags: Tags | None) -> bytes:
    return write.encode(SOUND, FORMATS[name], subtype=None, tags=file_tags)[0]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [0, 1_900, 2_100, 40_000, 1_000_000, LARGEST - 1_000])
def test_tags_are_read_back_from_every_format(tmp_path: Path, name: str, size: int) -> None:
    expected = Tags(RECIPE | {"filler": "x" * size}, title="夜の歌, héllo 😀")
    path = write.audio(tmp_path / f"song.{name}", SOUND, tags=expected).path
    assert tags.read(path) == expected
    assert tags.read(path).statement == AI_STATEMENT
    assert read.audio(path).samples.shape == SOUND.samples.shape


@pytest.mark.parametrize("name", ["flac", "mp3", "ogg"])
def test_other_programs_read_the_tags(name: str) -> None:
    """Read with libsndfile alone, as a player does."""
    with soundfile.SoundFile(BytesIO(encoded(name, Tags(RECIPE, "A song")))) as file:
        assert file.comment.startswith(AI_STATEMENT + '\n{"graph":"text2music"')
        assert file.title == "A song"
        assert file.software.startswith("acestep_flows 0")


def test_a_wavs_tags_are_an_ordinary_info_list() -> None:
    with soundfile.SoundFile(BytesIO(encoded("wav", Tags({"seed": 7}, "A song")))) as file:
        assert file.comment == AI_STATEMENT + '\n{"seed":7}'
        assert file.title == "A song"


@given(recipe=st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.lists(st.text()), max_size=4))
@settings(deadline=None)
def test_any_json_recipe_is_read_back(recipe: dict[str, Any]) -> None:
    for name in FORMATS:
        assert tags.read(encoded(name, Tags(recipe))).recipe == recipe


@given(title=st.text(alphabet=st.characters(), max_size=30))
@settings(deadline=None)
def test_any_title_becomes_one_line_that_is_read_back(title: str) -> None:
    titled = Tags(title=title)
    assert "\n" not in titled.title
    for name in FORMATS:
        assert tags.read(encoded(name, titled)).title == titled.title


@pytest.mark.parametrize("name", FORMATS)
def test_files_of_other_programs_have_no_statement(name: str) -> None:
    assert tags.read(encoded(name, None)) == Tags(statement="")


def test_a_recipe_that_is_too_large_is_refused() -> None:
    with pytest.raises(InputError, match=rf"recipe: \d+ bytes \(allowed: up to {LARGEST} bytes"):
        Tags({"x": "x" * LARGEST}).comment()


@pytest.mark.parametrize("recipe", [{"x": float("nan")}, {"x": object()}])
def test_a_recipe_that_is_not_json_is_refused(recipe: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="recipe: not JSON"):
        Tags(recipe).comment()


@pytest.mark.parametrize("name", ["wav", "flac", "mp3"])  # Ogg pages have checksums
def test_a_damaged_recipe_is_an_error(name: str) -> None:
    content = encoded(name, Tags({"seed": 7})).replace(b'{"seed":7}', b'{"seed":7,')
    with pytest.raises(InputError, match="song: the recipe in its tags is damaged"):
        tags.read(content, name="song")
