from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from acestep_flows.text.segments import Segmenter
from acestep_flows.values import Compatibility


def segment(line: str, compatibility: Compatibility = "upstream") -> tuple[list[tuple[str, str]], dict[str, int]]:
    segmenter = Segmenter(compatibility)
    segments = [(segment.language, segment.text) for segment in segmenter.segment(line)]
    return segments, segmenter.counts


@pytest.mark.parametrize(
    ("line", "segments", "counts"),
    [
        # the examples of the spec
        ("Neon lights they flicker bright", [("en", "Neon lights they flicker bright ")], {"en": 32}),
        ("24 hours to live", [("en", "24 hours to live ")], {"zh": 6, "en": 17}),
        ("♪ hold me close tonight", [("en", "♪ hold me close tonight ")], {"zh": 4, "en": 24}),
        ("[verse]", [("en", "[verse] ")], {"zh": 2, "en": 8}),
        ("[outro - fade]", [("pt", "[outro - fade]")], {"zh": 2, "pt": 14}),
        ("1, 2, 3 go", [("zh", "1, 2, 3"), ("en", "go ")], {"zh": 14, "en": 3}),
        ("Там было 50 солдат и 12.5 секунды", [("ru", "Там было 50 солдат и 12.5 секунды")], {"ru": 33}),
        ("12.5 초 안에 50 명이 왔다", [("ko", "12.5 초 안에 50 명이 왔다")], {"zh": 10, "ko": 18}),
        ("사랑 love", [("ko", "사랑 "), ("en", "love ")], {"ko": 3, "en": 5}),
        ("I love 你", [("en", "I love  "), ("zh", "你")], {"en": 8, "zh": 2}),
        ("我, love you", [("ja", "我, "), ("en", "love you ")], {"ja": 3, "en": 9}),
        ("愛してる", [("ja", "愛してる")], {"ja": 4}),
        ("東京", [("zh", "東京")], {"zh": 4}),
        ("夜空", [("ja", "夜空")], {"ja": 2}),
        (
            "我爱你 I love you 사랑해 愛してる",
            [("zh", "我爱你 "), ("en", "I love you  "), ("ko", "사랑해 "), ("ja", "愛してる")],
            {"zh": 8, "en": 12, "ko": 4, "ja": 4},
        ),
        (
            "硅谷 那个 coder 调试 neural network",
            [("zh", "硅谷 那个 "), ("en", "coder  "), ("ja", "调试 "), ("fr", "neural network")],
            {"zh": 12, "en": 7, "ja": 3, "fr": 14},
        ),
        (
            "Straße, Größe, Übermut & Äpfel",
            [
                *(("en", "Stra "), ("de", "ß"), ("sv", "e, Grö"), ("de", "ß")),
                *(("en", "e,  "), ("et", "Ü"), ("en", "bermut &  Ä "), ("hu", "pfel")),
            ],
            {"en": 21, "de": 2, "sv": 6, "et": 1, "hu": 4},
        ),
        (
            "İstanbul'da Ömer ve Ülkü",
            [("tr", "İ"), ("es", "stanbul'da "), ("de", "Ömer ve "), ("et", "Ü"), ("tr", "lkü")],
            {"tr": 4, "es": 11, "de": 8, "et": 1},
        ),
        (
            "Za 12,5 vteřiny přijde 1. den",
            [
                *(("pl", "Za 12,5 "), ("en", "vte "), ("cs", "ř"), ("en", "iny p "), ("cs", "ř")),
                *(("nl", "ijde 1. "), ("en", "den ")),
            ],
            {"pl": 8, "en": 14, "cs": 2, "nl": 8},
        ),
        ("LA LA", [("en", "L A L A ")], {"en": 8}),
        # tags: names in lower case, never merged; numbers are spelled in Chinese; unknown names vanish
        ("<EN>love</EN><en>me</en>", [("en", "love "), ("en", "me ")], {"en": 8}),
        ("<number>12个</number>", [("zh", "十二个")], {"zh": 6}),
        ("<xx>love</xx><a>b</a><>c</>", [("a", "b"), ("", "c")], {"a": 1, "": 1}),
        # short text in quotes joins its neighbours, longer text is classified whole
        ("我们'啊啊'你们", [("zh", "我们'啊啊'你们")], {"zh": 16}),
        ("我们'ěščřžý'", [("cs", "我们'ěščřž"), ("sk", "ý'")], {"cs": 8, "sk": 2}),
        # quotes that contain a placeholder are split there
        (
            "我'Straße'你",
            [("ja", "我"), ("en", "'Stra "), ("de", "ß"), ("en", "e' "), ("zh", "你")],
            {"ja": 1, "en": 9, "de": 1, "zh": 2},
        ),
        # sentences of a Latin text are classified one by one
        ("Ich liebe dich. I love you", [("de", "Ich liebe dich."), ("en", " I love you ")], {"de": 15, "en": 12}),
        # dashes at the ends of English are removed; the count of the text before it stays
        ("-- stop the music --", [("en", "-- stop the music  ")], {"zh": 6, "en": 19}),
        # short Han text is undecided: the next segment decides it, and it is dropped at the end
        ("愛'我们'", [("ja", "愛")], {"ja": 1}),
        ("我们。'我'ß", [("zh", "我们。'我'"), ("de", "ß")], {"zh": 12, "de": 1}),
        ("", [], {}),
        (" \t ", [], {}),
    ],
)
def test_segments_and_counts(line: str, segments: list[tuple[str, str]], counts: dict[str, int]) -> None:
    assert segment(line) == (segments, counts)


@pytest.mark.parametrize(
    ("following", "segments", "counts"),
    [
        ("love you", [("zh", "'我们'"), ("en", "love you ")], {"de": 1, "zh": 8, "en": 9}),
        ("愛してる", [("ja", "'我们'愛してる")], {"de": 1, "ja": 8}),
        ("你好吗朋友们啊", [("zh", "'我们'你好吗朋友们啊")], {"de": 1, "zh": 22}),
    ],
)
def test_an_undecided_segment_is_decided_by_the_next_line(
    following: str, segments: list[tuple[str, str]], counts: dict[str, int]
) -> None:
    segmenter = Segmenter("upstream")
    first, second = segmenter.segment("ß'我们'"), segmenter.segment(following)
    assert [(segment.language, segment.text) for segment in first] == [("de", "ß")]
    assert [(segment.language, segment.text) for segment in second] == segments
    assert segmenter.counts == counts


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("24 hours to live", {"en": 17}),
        ("♪ hold me close tonight", {"en": 24}),
        ("1, 2, 3 go", {"en": 3}),
        ("12.5 초 안에 50 명이 왔다", {"ko": 15}),
        ("123 ♪ ...", {}),
    ],
)
def test_segments_without_letters_are_not_counted_when_corrected(line: str, counts: dict[str, int]) -> None:
    assert segment(line, "corrected")[1] == counts
    assert segment(line, "corrected")[0] == segment(line, "upstream")[0]


TRICKY = st.text(alphabet="aÉé我の나я59 .,-'\"（）“”(<>/\n[♪_愛。", max_size=40)


@given(TRICKY)
def test_segments_contain_the_text_in_order(line: str) -> None:
    """Only blanks and the dashes around English may be added or removed."""
    assume("<" not in line)  # tags are removed as well
    segmenter = Segmenter("upstream")
    text = "".join(segment.text for segment in segmenter.segment(line))
    if segmenter._undecided:
        text += segmenter._undecided[1]

    def without_blanks(text: str) -> str:
        return "".join(character for character in text if not character.isspace() and character != "-")

    assert without_blanks(text) == without_blanks(line)


@given(TRICKY)
def test_corrected_counts_do_not_exceed_upstream_counts(line: str) -> None:
    upstream, corrected = segment(line, "upstream")[1], segment(line, "corrected")[1]
    assert all(count <= upstream[language] for language, count in corrected.items())
