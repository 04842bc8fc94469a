from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.text.pinyin import SYLLABLES, change_around_pinyin, is_written_pinyin, to_pinyin


@pytest.mark.parametrize(
    ("han", "pinyin"),
    [
        ("我走过深夜的街道", "wo3zou3guo4shen1ye4de5jie1dao4"),
        ("女 abc 1.5♪", "nv3 abc 1.5♪"),
        # readings of the pinned version
        ("一百二十三", "yi1bai3er4shi2san1"),
        ("银行行长", "yin2xing2xing2zhang3"),
        ("", ""),
    ],
)
def test_han_to_pinyin(han: str, pinyin: str) -> None:
    assert to_pinyin(han) == pinyin


def test_the_table_has_every_reading_of_the_common_characters() -> None:
    common = b"".join(bytes((row, cell)) for row in range(0xB0, 0xF8) for cell in range(0xA1, 0xFF))
    readings = {to_pinyin(character)[:-1] for character in common.decode("gb2312", "ignore")}
    assert len(readings) > 390
    assert readings - SYLLABLES <= {"n"}  # an interjection without a vowel
    assert len(SYLLABLES - readings) < 20  # rare ones, such as dia, fiao, rua


@pytest.mark.parametrize("line", ["ni3 hao3", "Ni3 Hao3!", "wo3ai4ni3", "lü4, lv4", "(ma5) ..."])
def test_lines_of_pinyin_are_recognised(line: str) -> None:
    assert is_written_pinyin(line)


@pytest.mark.parametrize(
    "line", ["", "...", "ni hao", "ni3 friend", "mp3", "ni6", "3", "我 ni3", "b2b", "xni3", "ni33"]
)
def test_other_lines_are_not_pinyin(line: str) -> None:
    assert not is_written_pinyin(line)


def test_only_text_between_pinyin_is_changed() -> None:
    assert change_around_pinyin("我ni3有50个 hao3ma5 nü3 mp3", str.upper) == "我ni3有50个 hao3ma5 nv3 MP3"


@given(st.text(alphabet="nihao35 我,x", max_size=20))
def test_text_without_change_is_restored(text: str) -> None:
    assert change_around_pinyin(text, str) == text
    assert "".join(change_around_pinyin(text, lambda piece: "").split()).isascii()
