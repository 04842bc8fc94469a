from __future__ import annotations

import pytest

from acestep_flows.text import segments as segments_module
from acestep_flows.text.identify import line_language, song_segments


@pytest.mark.parametrize(
    ("line", "language"),
    [
        ("Neon lights they flicker bright", "en"),
        ("24 hours to live", "zh"),
        ("♪ hold me close tonight", "zh"),
        ("[verse]", "zh"),
        ("[outro - fade]", "pt"),
        ("1, 2, 3 go", "zh"),
        ("Там было 50 солдат и 12.5 секунды", "ru"),
        ("12.5 초 안에 50 명이 왔다", "ko"),
        ("사랑 love", "ko"),
        ("I love 你", "zh"),
        ("我, love you", "ja"),
        ("愛してる", "ja"),
        ("東京", "zh"),
        ("夜空", "ja"),
        ("我爱你 I love you 사랑해 愛してる", "zh"),
        ("硅谷 那个 coder 调试 neural network", "fr"),
        ("Straße, Größe, Übermut & Äpfel", "sv"),
        ("İstanbul'da Ömer ve Ülkü", "es"),
        ("Za 12,5 vteřiny přijde 1. den", "pl"),
        ("LA LA", "en"),
        ("Corazón", "gl"),
        ("La la la", "es"),
        ("yo yo yo", "es"),
        ("We drove all night to see the river under the moonlight 你", "zh"),
        ("ni3 hao3, shi4 jie4!", "en"),
        ("", "zh"),
        ("1 2 3 4!", "zh"),
    ],
)
def test_language_of_a_line(line: str, language: str) -> None:
    assert line_language(line) == language


def test_any_error_means_english(monkeypatch: pytest.MonkeyPatch) -> None:
    def overflow(text: str) -> tuple[str, float]:
        raise OverflowError(text)

    assert line_language("Ich liebe dich") == "de"
    monkeypatch.setattr(segments_module, "classify", overflow)
    assert line_language("Ich liebe dich") == "en"


def test_a_song_has_its_most_frequent_language_even_english() -> None:
    language, segments = song_segments("[verse]\nI love you so much\n\n我们\n", "upstream")
    assert language == "en"
    assert [(segment.language, segment.text) for segment in segments] == [
        ("en", "[verse]\n "),
        ("en", "I love you so much\n\n "),
        ("zh", "我们\n"),
    ]
