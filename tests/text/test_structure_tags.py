from __future__ import annotations

import pytest

from acestep_flows.text.structure_tags import STRUCTURE, is_spoken_name, structure_tag


@pytest.mark.parametrize("tag", STRUCTURE)
def test_the_models_own_tags_are_themselves_in_any_case(tag: str) -> None:
    assert structure_tag(tag[1:-1]) == tag
    assert structure_tag(f" {tag[1:-1].upper()} ") == tag


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("Verse 1", "[verse]"),
        ("Pre Chorus", "[pre-chorus]"),
        ("Pre-Chorus 2", "[pre-chorus]"),
        ("prechorus", "[pre-chorus]"),
        ("Final Chorus", "[chorus]"),
        ("Chorus x2", "[chorus]"),
        ("Guitar Solo", "[solo]"),
        ("outro - fade", "[outro]"),
        ("Instrumental Break", "[inst]"),
        ("副歌", "[chorus]"),
        ("主歌 1", "[verse]"),
        ("サビ", "[chorus]"),
        ("후렴", "[chorus]"),
        ("Estribillo", "[chorus]"),
        ("Strophe 2", "[verse]"),
        ("Припев", "[chorus]"),
        ("Refrain", "[chorus]"),
        ("whispered", ""),
        ("en", ""),
        ("", ""),
        ("123", ""),
    ],
)
def test_the_tag_of_a_name(name: str, tag: str) -> None:
    assert structure_tag(name) == tag


@pytest.mark.parametrize(
    ("name", "spoken"),
    [("Verse 1", True), ("chorus", True), ("Verse IV", True), ("verse of my life", False), ("solo", False)],
)
def test_names_without_brackets_are_parts_only_where_nobody_sings_them(name: str, spoken: bool) -> None:
    assert is_spoken_name(name) == spoken
