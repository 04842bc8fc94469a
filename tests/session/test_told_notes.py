"""Notes about tags and lyrics: told with the first song, and not again at every edit of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acestep_flows import Session
from acestep_flows.session.notes import notes_of_sources

TAGS = "synthwave, kazoo, Bb minor"
LYRICS = "[Verse 1]\nThe last bus\n[Scream]\nhome"
SONG: dict[str, Any] = {"tags": TAGS, "lyrics": LYRICS, "duration": 1, "steps": 1, "seed": 7}
QUICK: dict[str, Any] = {"span": (0.2, 0.6), "steps": 2, "seed": 1}
UNKNOWN = "tags: the model was not trained on 'kazoo', 'Bb' (write A#) and ignores what it does not know"
NONE_LEFT = "tags: the model knows none of them, so they change nothing in the song"


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with Session("embedded", cache_folder=tmp_path_factory.mktemp("results")) as session:
        yield session


def about_words(warnings: Any) -> list[str]:
    return [warning for warning in warnings if "whole frames" not in warning and "silent" not in warning]


def test_the_first_run_tells_tags_that_nano_does_not_know(nano: Session, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="acestep_flows.session.planned_run"):
        song = nano.run("text2music", **SONG)
    assert song.warnings.count(UNKNOWN) == 1
    assert caplog.messages.count(UNKNOWN) == 1
    assert nano.run("text2music", **{**SONG, "tags": "rock, piano"}).warnings.count(UNKNOWN) == 0
    long = nano.run("text2music", **{**SONG, "tags": ", ".join(f"nothing{i}" for i in range(30))})
    assert any(
        warning.endswith("'nothing7' and 22 more and ignores what it does not know") for warning in long.warnings
    )


def test_several_takes_tell_it_once(nano: Session) -> None:
    takes = nano.run("batch-takes", tags=TAGS, duration=1, steps=1, seeds=[1, 2])
    assert takes.warnings.count(UNKNOWN) == 1


@pytest.mark.parametrize("by", ["audio", "latents", "recipe", "file"])
def test_an_edit_of_the_same_words_tells_nothing_again(nano: Session, tmp_path: Path, by: str) -> None:
    song = nano.run("text2music", **SONG)
    first = about_words(song.warnings)
    assert len(first) == 3
    file = song.save(tmp_path / "song.flac")[0]
    words: dict[str, Any] = {"tags": TAGS, "lyrics": LYRICS}
    given: dict[str, Any] = {
        "audio": {"source": song.audio, **words},
        "latents": {"source": song.latents, **words},
        "recipe": {"recipe": file},
        "file": {"source": file, **words},
    }[by]
    painted = nano.run("repaint", **QUICK, **given)
    assert about_words(painted.warnings) == []
    assert set(first) <= set(painted.recipe.notes)
    assert painted.report.entries["warnings"] == song.report.entries["warnings"]  # the report still has them
    again = nano.run("extend", source=painted.audio, **words, right=0.5, steps=1, seed=1)
    assert about_words(again.warnings) == []


def test_new_words_are_told(nano: Session) -> None:
    song = nano.run("text2music", **SONG)
    edit: dict[str, Any] = {"tags": TAGS, "lyrics": LYRICS, "new_lyrics": "[Verse 2]\nhome", "steps": 2, "seed": 1}
    edited = nano.run("edit-lyrics", source=song.audio, **edit)
    assert about_words(edited.warnings) == ["[Verse 2] is read as [verse]"]
    other = nano.run("repaint", source=song.audio, tags="theremin", **QUICK)
    assert about_words(other.warnings) == [UNKNOWN.replace("'kazoo', 'Bb' (write A#)", "'theremin'"), NONE_LEFT]


def test_that_no_tag_is_left_is_a_warning(nano: Session, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="acestep_flows.session.planned_run"):
        song = nano.run("text2music", **{**SONG, "tags": "theremin, Cb"})
        edited = nano.run("repaint", source=song.audio, tags="theremin, Cb", lyrics=LYRICS, **QUICK)
    levels = {record.getMessage(): record.levelno for record in caplog.records if "tags: " in record.getMessage()}
    note = UNKNOWN.replace("'kazoo', 'Bb' (write A#)", "'theremin', 'Cb' (write B)")
    assert levels == {note: logging.INFO, NONE_LEFT: logging.WARNING}
    assert [type(warning) for warning in song.warnings if warning == NONE_LEFT] == [str]
    assert about_words(edited.warnings) == []


def test_another_song_of_the_same_words_is_told(nano: Session) -> None:
    nano.run("text2music", **SONG)
    assert len(about_words(nano.run("text2music", **{**SONG, "seed": 8}).warnings)) == 3


def test_files_of_others_have_no_notes(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no audio")
    assert notes_of_sources({"source": 1}, [str(tmp_path / "a.wav"), str(tmp_path / "gone.flac")]) == frozenset()


def test_recipes_without_notes_are_as_before(nano: Session) -> None:
    song = nano.run("text2music", **{**SONG, "tags": "rock", "lyrics": ""})
    assert "notes" not in song.recipe.as_json()


def test_a_model_that_spells_words_has_no_closed_list(session: Session) -> None:
    assert not [warning for warning in session.run("text2music", **SONG).warnings if warning.startswith("tags:")]
