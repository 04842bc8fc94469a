from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.bulk import identity
from acestep_flows.errors import InputError

NASTY = [
    "../../etc/passwd", "..", ".", "/", "a/b", "a\\b", "song.flac", "a.b.c", "~", "-rf", "con", "NUL", "a b", "Größe",
    "夜", "x" * 400, "A", "a", "a-0123456789ab", "row", "%2e%2e%2f", "$HOME", "a:b", "com1", "\u202egpj", "'", "*?",
]  # fmt: skip


def test_no_id_leads_out_of_its_folder(tmp_path: Path) -> None:
    for id in NASTY:
        stem = identity.stem(id)
        assert re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,79}", stem), id
        path = tmp_path / identity.audio_folder(12, 1000) / f"{stem}.flac"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
        assert path.resolve().is_relative_to(tmp_path.resolve())
        assert os.path.splitext(path.name) == (stem, ".flac")
    assert len({identity.stem(id) for id in NASTY}) == len(NASTY)


def test_plain_ids_are_their_own_names() -> None:
    for id in ["song-0001", "a", "7", "take_3"]:
        assert identity.stem(id) == id


@given(st.lists(st.text(max_size=120), unique=True, max_size=40))
def test_names_are_safe_and_distinct_where_ids_are(ids: list[str]) -> None:
    stems = [identity.stem(id) for id in ids]
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,79}", stem) for stem in stems)
    assert len(set(stems)) == len(stems)
    again = [identity.stem(stem) for stem in stems]
    assert len(set(again + stems)) <= len(stems) * 2


def test_a_name_that_was_made_is_not_given_twice() -> None:
    made = identity.stem("Night Bus")
    assert identity.stem(made) != made  # an id that looks like a made name may not take its place


@pytest.mark.parametrize("value", ["", "x" * 501, 1.5, True, None, ["a"], "a\nb", "a\x00b", "\ud800", 10**80])
def test_what_is_no_id_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="id"):
        identity.given_id(value)


def test_whole_numbers_are_ids() -> None:
    assert identity.given_id(17) == "17"


def test_folders_hold_a_bounded_number() -> None:
    assert [identity.audio_folder(index, 1000) for index in (0, 999, 1000, 123_456)] == [
        "00000",
        "00000",
        "00001",
        "00123",
    ]
