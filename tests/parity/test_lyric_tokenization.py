"""Lyric token ids equal those of the original, line by line and for whole songs.

Ids need the published vocabulary, which the small reference has not. With it, languages, normalized text and dropped
lines are compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest

from acestep_flows.text.identify import line_language
from acestep_flows.text.lyric_lines import LyricLine
from acestep_flows.text.lyrics import LyricTokenizer
from tests.parity.reference import Reference

GOLDEN = "lyric_tokenization.json"

LINE_FIELDS = {"line", "detected", "language_used", "preprocessed", "ids", "error"}
SONG_FIELDS = {"source", "lyrics", "ids", "dropped_lines"}
FLAG = "same_with_"
"""Fields of this prefix say whether another version of a library would have given the same."""


@pytest.fixture(scope="module")
def tokenizer(reference: Reference) -> LyricTokenizer:
    return LyricTokenizer(reference.lyric_vocab)


def test_every_field_is_known(reference: Reference) -> None:
    assert set(reference.tokenization) == {"versions", "lines", "lyrics"}
    for row in reference.tokenization["lines"]:
        assert {field for field in row if not field.startswith(FLAG)} == LINE_FIELDS
    for row in reference.tokenization["lyrics"]:
        assert {field for field in row if not field.startswith(FLAG)} == SONG_FIELDS


def test_lines(reference: Reference, tokenizer: LyricTokenizer) -> None:
    rows = [row for row in reference.tokenization["lines"] if comparable(row, reference)]
    assert rows
    for row in rows:
        line = row["line"].strip()
        detected = line_language(line)
        report = tokenizer.encode_line(LyricLine(1, line), detected, compatibility="upstream")
        got: dict[str, Any] = {
            "detected": detected,
            "language_used": report.language,
            "preprocessed": report.normalized,
        }
        if reference.has_published_vocab:
            got["ids"] = list(report.ids)
        assert got == {field: row[field] for field in got}, row["line"]
        assert bool(report.skipped) == (row["error"] is not None), row["line"]


def test_songs(reference: Reference, tokenizer: LyricTokenizer) -> None:
    rows = [row for row in reference.tokenization["lyrics"] if comparable(row, reference)]
    assert rows
    for row in rows:
        if row["lyrics"]:
            tokens = tokenizer.encode(row["lyrics"], compatibility="upstream")
        else:  # recorded below the caller's short cut for empty lyrics
            tokens = tokenizer.encode_lines([LyricLine(1, "")], [""], compatibility="upstream")
        if reference.has_published_vocab:
            assert tokens.ids.tolist() == row["ids"], row["source"]
        assert sum(bool(line.skipped) for line in tokens.lines) == row["dropped_lines"], row["source"]


def comparable(row: Mapping[str, Any], reference: Reference) -> bool:
    """Whether the libraries here are those of the recording, or the row says that it does not matter."""
    recorded = reference.tokenization["versions"]
    for field in row:
        if not field.startswith(FLAG):
            continue
        library, _, other = field.removeprefix(FLAG).rpartition("_")
        installed = installed_version(library)
        if installed != recorded[library] and not (row[field] and f"{installed}.".startswith(f"{other}.")):
            return False
    return True


def installed_version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
