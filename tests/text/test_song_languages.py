from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from acestep_flows.text.classify import LATIN
from acestep_flows.text.languages import SUPPORTED
from acestep_flows.text.song_languages import song_languages

LINES = Path(__file__).with_name("short_lines.txt")

Song = tuple[str, list[str]]


def read_songs() -> list[Song]:
    songs: list[Song] = []
    for line in LINES.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            songs.append((line.removeprefix("## "), []))
        elif not line.startswith("#"):
            songs[-1][1].append(line)
    return songs


def detect(lines: list[str]) -> list[str]:
    return song_languages(lines, [None] * len(lines))


def test_short_lines_follow_their_song() -> None:
    songs = read_songs()
    assert {language for language, _ in songs} == set(SUPPORTED)
    rows = [
        (language, line, found) for language, lines in songs for line, found in zip(lines, detect(lines), strict=True)
    ]
    assert len(rows) >= 400
    wrong = [row for row in rows if row[0] != row[2]]
    assert len(wrong) <= 0.03 * len(rows), wrong


def test_a_verse_in_another_language_keeps_its_own() -> None:
    """Thirteen lines of one language, then six of another: the border may blur, the verse may not vanish."""
    first = dict(reversed(read_songs()))
    second = dict(read_songs())
    right = total = 0
    for main, other in permutations(LATIN, 2):
        found = detect(first[main] + second[other][:6])
        right += found[:13].count(main) + found[13:].count(other)
        total += 19
    assert right >= 0.95 * total


@pytest.mark.parametrize(
    ("line", "language"),
    [
        ("Neon lights they flicker bright", "en"),
        ("24 hours to live", "en"),
        ("♪ hold me close tonight", "en"),
        ("1, 2, 3 go", "en"),
        ("Там было 50 солдат и 12.5 секунды", "ru"),
        ("12.5 초 안에 50 명이 왔다", "ko"),
        ("사랑 love", "ko"),
        ("I love 你", "zh"),
        ("我, love you", "zh"),
        ("愛してる", "ja"),
        ("東京", "zh"),
        ("Straße, Größe, Übermut & Äpfel", "de"),
        ("İstanbul'da Ömer ve Ülkü", "tr"),
        ("Za 12,5 vteřiny přijde 1. den", "cs"),
        ("Corazón", "es"),
        # one foreign letter does not change a long English line
        ("We drove all night to see the river under the moonlight 你", "en"),
        # pinyin that a user wrote
        ("ni3 hao3, shi4 jie4!", "zh"),
        # scripts that the vocabulary lacks
        ("Γεια σου κόσμε", "en"),
        ("123", "zh"),
        ("", ""),
    ],
)
def test_the_language_of_a_line_alone(line: str, language: str) -> None:
    assert detect([line]) == [language]


def test_han_lines_of_a_japanese_song_are_japanese() -> None:
    assert detect(["愛してる", "東京", "夜空"]) == ["ja", "ja", "ja"]
    assert detect(["我爱你", "东京", "夜空"]) == ["zh", "zh", "zh"]


def test_lines_without_letters_take_the_language_of_the_song() -> None:
    assert detect(["1, 2, 3!", "Ich liebe dich und die Nacht", "4 5"]) == ["de", "de", "de"]


def test_hints_stand_and_count_for_the_song() -> None:
    assert song_languages(["la", "la", "7"], ["hu", "hu", None]) == ["hu", "hu", "hu"]
