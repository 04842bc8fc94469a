"""Which tags a model does not know: those outside of the closed list of its own tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.embedded import embedded_checkpoint
from acestep_flows.model.tag_words import TagWords, _read
from acestep_flows.model.vocabulary import byte_tokenizer, word_tokenizer


@pytest.fixture(scope="module")
def nano() -> TagWords:
    words = TagWords.of(Checkpoint.open(embedded_checkpoint()))
    assert words is not None
    return words


@pytest.mark.parametrize(
    ("tags", "unknown"),
    [
        ("synthwave, synth lead, drums, A minor, 120 bpm", []),
        ("Techno; DISCO\ncountry", []),  # aliases, in any case
        ("lo-fi, Bb minor, dreamy kazoo", ["lo-fi", "Bb", "kazoo"]),
        ("kazoo, kazoo solo, theremin", ["kazoo", "theremin"]),
        ("A cappella, female vocal, C dur", ["A cappella", "C dur"]),
        ("key of C, A kazoo minor", ["key of C", "kazoo"]),
        ("a song about the ocean", ["song", "about", "ocean"]),
        ("\u732b, \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), ["\u732b", "\U0001f600"]),
        (", ;\n", []),
        ("", []),
    ],
)
def test_tags_outside_of_the_list_of_nano(nano: TagWords, tags: str, unknown: list[str]) -> None:
    assert nano.unknown(tags) == unknown


def test_a_tag_that_is_known_as_one_word(nano: TagWords) -> None:
    assert nano.spelt("lo-fi") == "lofi"
    assert nano.spelt("kazoo") == nano.spelt("ka-zoo") == ""


@pytest.mark.parametrize(
    ("tag", "spelt"),
    [
        ("sythwave", "synthwave"),
        ("pianno", "piano"),
        ("Pianno soolo", "piano solo"),
        ("Bb", "A#"),
        ("eb", "D#"),
        ("G\u266d", "F#"),
        ("theremin", ""),
        ("theremin solo", ""),
        ("mood", ""),  # moon is no nearer than many words
        ("a" * 100, ""),
    ],
)
def test_a_tag_that_is_nearly_known(nano: TagWords, tag: str, spelt: str) -> None:
    assert nano.unknown(tag)
    assert nano.spelt(tag) == spelt
    assert nano.unknown(spelt) == []


@pytest.mark.parametrize(
    ("tags", "known"), [("kazoo", False), ("kazoo, A", False), ("kazoo, drums", True), ("", False)]
)
def test_whether_any_tag_is_known(nano: TagWords, tags: str, known: bool) -> None:
    assert nano.knows_any(tags) is known


def words(folder: Path, content: str) -> TagWords | None:
    path = folder / "tokenizer.json"
    path.write_text(content, encoding="utf-8")
    status = path.stat()
    return _read(path, status.st_mtime_ns, status.st_size)


def test_the_list_is_that_of_the_checkpoint(tmp_path: Path) -> None:
    own = words(tmp_path, word_tokenizer(["kazoo"], {"comb": "kazoo"}))
    assert own is not None
    assert own.unknown("kazoo, comb, piano") == ["piano"]


@pytest.mark.parametrize("content", [byte_tokenizer(), "{", "[]", "{}", json.dumps({"model": {"type": "Unigram"}})])
def test_a_tokenizer_of_pieces_of_words_has_no_closed_list(tmp_path: Path, content: str) -> None:
    assert words(tmp_path, content) is None
