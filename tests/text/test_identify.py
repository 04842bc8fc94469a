from __future__ import annotations

import pytest

from acestep_flows.text import identify
from acestep_flows.text import segments as segments_module
from acestep_flows.text.identify import line_language, song_segments
from acestep_flows.values import Compatibility


@pytest.mark.parametrize(
    ("line", "upstream", "corrected"),
    [
        ("Neon lights they flicker bright", "en", "en"),
        ("24 hours to live", "zh", "en"),
        ("♪ hold me close tonight", "zh", "en"),
        ("[verse]", "zh", "en"),
        ("[outro - fade]", "pt", "pt"),
        ("1, 2, 3 go", "zh", "en"),
        ("Там было 50 солдат и 12.5 секунды", "ru", "ru"),
        ("12.5 초 안에 50 명이 왔다", "ko", "ko"),
        ("사랑 love", "ko", "ko"),
        ("I love 你", "zh", "zh"),
        ("我, love you", "ja", "ja"),
        ("愛してる", "ja", "ja"),
        ("東京", "zh", "zh"),
        ("夜空", "ja", "ja"),
        ("我爱你 I love you 사랑해 愛してる", "zh", "zh"),
        ("硅谷 那个 coder 调试 neural network", "fr", "fr"),
        ("Straße, Größe, Übermut & Äpfel", "sv", "sv"),
        ("İstanbul'da Ömer ve Ülkü", "es", "es"),
        ("Za 12,5 vteřiny přijde 1. den", "pl", "nl"),
        ("LA LA", "en", "en"),
        ("Corazón", "gl", "gl"),
        ("La la la", "es", "es"),
        ("yo yo yo", "es", "es"),
        # one foreign letter does not change a long English line
        ("We drove all night to see the river under the moonlight 你", "zh", "en"),
        # pinyin that a user wrote
        ("ni3 hao3, shi4 jie4!", "en", "zh"),
        ("", "zh", "zh"),
    ],
)
def test_language_of_a_line(line: str, upstream: str, corrected: str) -> None:
    assert line_language(line, "upstream") == upstream
    assert line_language(line, "corrected") == corrected


def test_lines_without_language_get_the_fallback() -> None:
    assert line_language("1 2 3 4!", "corrected", fallback="de") == "de"
    assert line_language("1 2 3 4!", "upstream", fallback="de") == "zh"


@pytest.mark.parametrize(
    ("counts", "upstream", "corrected"),
    [
        ({"en": 86, "zh": 14}, "zh", "en"),
        ({"en": 85, "zh": 15}, "zh", "zh"),
        ({"en": 85, "de": 8, "zh": 7}, "de", "en"),
        ({"de": 50, "en": 49}, "de", "de"),
        ({"ja": 5, "en": 5}, "ja", "ja"),  # a tie goes to the first
        ({"en": 5, "ja": 5, "ko": 5}, "ja", "ja"),
        ({"en": 1}, "en", "en"),
        ({}, "", ""),
    ],
)
def test_a_second_language_takes_precedence_over_english(counts: dict[str, int], upstream: str, corrected: str) -> None:
    assert identify._decide(counts, "upstream") == upstream
    assert identify._decide(counts, "corrected") == corrected


@pytest.mark.parametrize("compatibility", ["upstream", "corrected"])
def test_any_error_means_english(compatibility: Compatibility, monkeypatch: pytest.MonkeyPatch) -> None:
    def overflow(text: str) -> tuple[str, float]:
        raise OverflowError(text)

    assert line_language("Ich liebe dich", compatibility) == "de"
    monkeypatch.setattr(segments_module, "classify", overflow)
    assert line_language("Ich liebe dich", compatibility) == "en"


def test_a_song_has_its_most_frequent_language_even_english() -> None:
    language, segments = song_segments("[verse]\nI love you so much\n\n我们\n", "upstream")
    assert language == "en"
    assert [(segment.language, segment.text) for segment in segments] == [
        ("en", "[verse]\n "),
        ("en", "I love you so much\n\n "),
        ("zh", "我们\n"),
    ]
