from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.text import chinese_numbers
from acestep_flows.text.chinese_numbers import cardinal, digit_by_digit, spell_chinese_numbers
from acestep_flows.values import Compatibility

BOTH: tuple[Compatibility, ...] = ("upstream", "corrected")


@pytest.mark.parametrize("compatibility", BOTH)
@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        # dates
        ("2024年3月5日", "二零二四年三月五日"),
        ("1998年", "一九九八年"),
        ("98年12月25号", "九八年十二月二十五号"),
        ("08年", "零八年"),
        ("2100年", "两千一百年"),
        ("123年", "一百二十三年"),
        ("24年", "二十四年"),
        ("3月", "三月"),
        # money
        ("5千万元", "五千万元"),
        ("3块5", "三块五"),
        ("3元5角", "三元五角"),
        ("12.5元", "十二点五元"),
        ("100多块", "一百多块"),
        ("2千", "二千"),  # only the 2 matches, and alone it is 二
        # telephone numbers
        ("+8613812345678", "八六一三八一二三四五六七八"),
        ("+86 13812345678", "八六一三八一二三四五六七八"),
        ("010-12345678", "零一零一二三四五六七八"),
        ("0755-1234567", "零七五五一二三四五六七"),
        # fractions and percentages
        ("1/2", "二分之一"),
        ("50%", "百分之五十"),
        ("12.5％", "百分之十二点五"),
        # quantities
        ("50个", "五十个"),
        ("3000个", "三千个"),
        ("3000千克", "三千千克"),
        ("3000厘米", "三千厘米"),
        ("3000米", "三零零零米"),
        ("3000克", "三零零零克"),
        ("3000公斤", "三零零零公斤"),
        ("30多个", "三十多个"),
        ("100000个", "十万个"),
        # runs of digits, and the rest
        ("100000", "一零零零零零"),
        ("12345", "一二三四五"),
        ("123", "一百二十三"),
        ("0.5", "零点五"),
        ("1234.5", "一二三四,五"),
        ("００７", "零七"),
        # letters around two
        ("p2p b2b", "p2p b2b"),
        ("p2 2p", "p二 二p"),
        # borders and punctuation
        ("^^a$$", "a"),
        ("你好！(yeah) it's", "你好,,yeah, it,s"),
        ("♪ 😀 £5°", "♪ 😀 £五°"),
        (string.punctuation + "x", "," * 32 + "x"),
        ("x‘’“”…·《》、。〟—x", "x,,,,,,,,,,,,x"),
    ],
)
def test_numbers_are_spelled(text: str, spoken: str, compatibility: Compatibility) -> None:
    assert spell_chinese_numbers(text, compatibility) == spoken


def test_numbers_are_replaced_in_place_when_corrected() -> None:
    assert spell_chinese_numbers("220号 2个", "upstream") == "二二十号 二个"
    assert spell_chinese_numbers("220号 2个", "corrected") == "两百二十号 二个"


@pytest.mark.parametrize(
    ("number", "spoken"),
    [
        ("0", "零"),
        ("2", "二"),
        ("00", ""),
        ("007", "零七"),
        ("015", "零一十五"),
        ("10", "十"),
        ("15", "十五"),
        ("20", "二十"),
        ("22", "二十二"),
        ("200", "两百"),
        ("1001", "一千零一"),
        ("2000", "两千"),
        ("2200", "两千两百"),
        ("10200", "一万零二百"),
        ("20000", "两万"),
        ("120000", "十二万"),
        ("200000000", "两亿"),
        ("123456789", "一亿两千三百四十五万六千七百八十九"),
        ("1" + "0" * 12, "一兆"),
        ("2" + "0" * 16, "两京"),
        ("0.5", "零点五"),
        ("12.05", "十二点零五"),
        ("200.22", "两百点二二"),
    ],
)
def test_cardinals_are_spelled(number: str, spoken: str) -> None:
    assert cardinal(number) == spoken


def test_digit_by_digit_drops_everything_else() -> None:
    assert digit_by_digit("+86 010-２") == "八六零一零二"


POWERS = {"十": 10, "百": 100, "千": 1000}


def parse_cardinal(spoken: str) -> int:
    """The number that a cardinal below 10^16 means, by the rules of grammar and not those of the module."""
    for unit, power in (("兆", 10**12), ("亿", 10**8), ("万", 10**4)):
        if unit in spoken:
            high, low = spoken.split(unit, 1) if unit != "万" else spoken.rsplit(unit, 1)
            return parse_cardinal(high) * power + parse_cardinal(low)
    total, digit = 0, 0
    for character in spoken.replace("两", "二").removeprefix("零"):
        if character in POWERS:
            total += (digit or 1) * POWERS[character]
            digit = 0
        else:
            digit = "零一二三四五六七八九".index(character)
    return total + digit


@given(st.integers(1, 10**16 - 1))
def test_a_cardinal_can_be_parsed(number: int) -> None:
    assert parse_cardinal(cardinal(str(number))) == number


ALPHABET = "0123289.%％/年月日号元块个多-+ab二 ，"


@given(text=st.text(alphabet=ALPHABET, max_size=30), compatibility=st.sampled_from(BOTH))
def test_no_digit_and_no_punctuation_survives(text: str, compatibility: Compatibility) -> None:
    spoken = spell_chinese_numbers(text, compatibility)
    assert not re.search(r"[013-9.%％/+\-，]", spoken)


@given(text=st.text(alphabet="125.%/年个a二 ", max_size=24))
def test_linear_patterns_match_as_the_plain_ones(text: str) -> None:
    for pattern, _ in chinese_numbers._RULES:
        plain = re.sub(r"^\(\?<!.*?\)(?=\(\?P)", "", pattern.pattern)
        assert [match.span() for match in pattern.finditer(text)] == [
            match.span() for match in re.finditer(plain, text)
        ]
