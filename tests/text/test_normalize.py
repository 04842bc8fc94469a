from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.text.languages import SUPPORTED
from acestep_flows.text.normalize import normalize
from acestep_flows.values import Compatibility

BOTH: tuple[Compatibility, ...] = ("upstream", "corrected")


@pytest.mark.parametrize("compatibility", BOTH)
@pytest.mark.parametrize(
    ("language", "text", "normalized"),
    [
        ("zh", "我有50个苹果", "wo3you3wu3shi2ge4ping2guo3"),
        ("zh", "你好！(yeah) it's 50%", "ni3hao3,,yeah, it,s bai3fen1zhi1wu3shi2"),
        ("zh", "£ 5°", "ying1bang4 wu3 du4"),
        ("ko", "비 오는 날에", "bi oneun nal-e"),
        ("ko", "12.5초 1번째", "sib-i jeom ocho cheos beon-jjae"),
        ("ja", "あなたの先生", "anata no sensei"),
        ("en", "Hello Mr. Smith, 1st & 20%", "hello mister smith, first and twenty percent"),
        ("es", "Costa $20.50", "costa veinte dólares con cincuenta centavos"),
        # straight quotes are removed, curly ones stay; blanks are merged and the ends stripped
        ("en", ' "Hey"  “you”\t! ', "hey “you” !"),
        ("tr", "İÖÜ I", "iöü i"),
        ("de", "İÖ", "i̇ö"),
        # lower case comes first
        ("en", "DR. No, 1ST", "doctor no, first"),
        # Hindi and Japanese spell no numbers out
        ("hi", 'दिल  24 "A"', 'दिल 24 "a"'),
        ("ja", "3回", "3 kai"),
    ],
)
def test_lines_are_normalized(language: str, text: str, normalized: str, compatibility: Compatibility) -> None:
    assert normalize(text, language, compatibility) == normalized


@pytest.mark.parametrize("language", ["sv", "zh-cn", ""])
def test_unsupported_language_raises(language: str) -> None:
    with pytest.raises(ValueError, match="no normalisation"):
        normalize("x", language, "corrected")


@pytest.mark.parametrize("compatibility", BOTH)
def test_only_the_failing_step_is_skipped(compatibility: Compatibility) -> None:
    unspeakable = "9" * 5000
    assert normalize(f"{unspeakable} & 5 dr. no", "en", compatibility) == f"{unspeakable} and 5 doctor no"


def test_czech_numbers_stay_digits_upstream() -> None:
    assert normalize("Dr. 12 & p. X", "cs", "upstream") == "doktor 12 a pan x"
    assert normalize("Dr. 12 & p. X", "cs", "corrected") == "doktor dvanáct a pan x"


def test_written_pinyin_is_unchanged_when_corrected() -> None:
    assert normalize("ni3 hao3", "zh", "upstream") == "nisan1 haosan1"
    assert normalize("ni3 hao3", "zh", "corrected") == "ni3 hao3"
    assert normalize("银hang2有5个 NÜ3", "zh", "corrected") == "yin2hang2you3wu3ge4 nv3"


MIXED = st.text(
    alphabet=st.one_of(st.sampled_from("aÉ我の나я5.,'\"£% \t[]😀♪(“"), st.characters(exclude_categories=["Cs"]))
)


@given(text=MIXED, language=st.sampled_from(SUPPORTED), compatibility=st.sampled_from(BOTH))
def test_any_text_can_be_normalized(text: str, language: str, compatibility: Compatibility) -> None:
    normalized = normalize(text, language, compatibility)
    assert normalize(text, language, compatibility) == normalized
    assert "  " not in normalized or language in ("ja", "ko", "zh")
