from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.text.lyric_lines import one_form, read_lines


def texts(lyrics: str) -> list[str]:
    return [line.text for line in read_lines(lyrics).lines]


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029"])
def test_every_kind_of_line_break(line_break: str) -> None:
    assert texts(f"one{line_break}{line_break}two") == ["one", "", "two"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("beau\u00adti\u00adful", "beautiful"),
        ("nei\u200bghbour", "neighbour"),
        ("\ufeffword\u200e", "word"),
        ("cafe\u0301", "café"),
        (unicodedata.normalize("NFD", "비오는 날에"), "비오는 날에"),
        ("ｆｕｌｌ１２", "full12"),
        ("ﬁnal", "final"),
        ("a\u00a0b", "a b"),
        ("ﾊﾝｶｸ", "ハンカク"),
        ("我（你）！", "我（你）！"),
        ("㐂", "㐂"),
    ],
)
def test_characters_have_one_form(written: str, expected: str) -> None:
    assert one_form(written) == expected


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_one_form_is_composed_and_stays(text: str) -> None:
    form = one_form(text)
    assert unicodedata.is_normalized("NFC", form)
    assert one_form(form) == form


def test_tags_stand_apart_from_words() -> None:
    song = read_lines("[verse] rain\n[Chorus]: stay\n[intro][verse] go [break] on\n[]\n")
    assert [(line.number, line.text, line.is_tag) for line in song.lines] == [
        (1, "[verse]", True),
        (1, "rain", False),
        (2, "[chorus]", True),
        (2, "stay", False),
        (3, "[intro]", True),
        (3, "[verse]", True),
        (3, "go [break] on", False),
        (4, "[]", False),
        (5, "", False),
    ]
    assert song.notes == []


@pytest.mark.parametrize("written", ["[Verse 1]", "(Verse 1)", "（主歌）", "Verse 1:", "**Verse**", "## Verse 2"])
def test_other_ways_to_write_a_tag_are_noted(written: str) -> None:
    song = read_lines(f"{written}\nwords")
    assert [line.text for line in song.lines] == ["[verse]", "words"]
    assert song.notes == [f"{written} is read as [verse]"]


@pytest.mark.parametrize("line", ["(solo)", "(oh yeah)", "love: a word", "and I said:", "**loud**", "verse"])
def test_words_are_not_taken_for_tags(line: str) -> None:
    assert texts(line) == [line]
    assert read_lines(line).notes == []


def test_an_unknown_tag_is_kept_as_words_with_a_hint() -> None:
    song = read_lines("[Whispered] come here")
    assert [line.text for line in song.lines] == ["[Whispered] come here"]
    assert song.notes[0].startswith("[Whispered] is read as words; structure tags are [start], [intro]")


def test_notes_name_each_way_once() -> None:
    notes = read_lines("\n".join(f"[Verse {number}]" for number in (1, 2, 3, 4, 5, 6, 1, 2))).notes
    assert notes == ["[Verse 1], [Verse 2], [Verse 3], [Verse 4] and 2 more are read as [verse]"]


def test_time_stamps_are_taken_off_and_kept_as_seconds() -> None:
    song = read_lines("[ar:Nobody]\n[00:01.50]Rain <00:02.00>on\n[01:05]back\n[02:00.000]\n")
    assert [(line.text, line.at) for line in song.lines] == [("Rain on", 1.5), ("back", 65.0), ("", None)]
    assert song.notes == ["line 1: [ar:Nobody] describes the file and is not sung"]


def test_a_line_with_several_stamps_is_sung_at_each() -> None:
    song = read_lines("[00:10.00][00:30.00]chorus line\n[00:20.00]verse line")
    assert [(line.text, line.at) for line in song.lines] == [
        ("chorus line", 10.0),
        ("verse line", 20.0),
        ("chorus line", 30.0),
    ]


WORDS = st.lists(st.text("abcdeé我カ가", min_size=1, max_size=6), max_size=4)
BEFORE = st.sampled_from(["", "[verse]", "[Verse 1]:", "[chorus][hook]", "[00:01.00]", "[00:01]<00:02.5>", "(a", "x:"])


@given(st.lists(st.tuples(BEFORE, WORDS), max_size=6))
def test_no_word_is_lost(lines: list[tuple[str, list[str]]]) -> None:
    lyrics = "\n".join(f"{before} {' '.join(words)}" for before, words in lines)
    read = " ".join(line.text for line in read_lines(lyrics).lines if not line.is_tag).split()
    assert [word for word in read if word not in ("(a", "x:")] == [word for _, words in lines for word in words]
