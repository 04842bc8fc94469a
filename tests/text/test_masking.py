from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.text import masking
from acestep_flows.text.masking import Hidden, MaskedLine


def outer_pieces(line: str) -> list[str]:
    """The pieces of the outermost level; masked ones as `kind:text`, the others unchanged."""
    masked = MaskedLine(line)
    return [f"{p.kind}:{unmasked(masked, p.text)}" if isinstance(p, Hidden) else p for p in masked.pieces(masked.text)]


def unmasked(masked: MaskedLine, text: str) -> str:
    return "".join(
        unmasked(masked, piece.text) if isinstance(piece, Hidden) else piece for piece in masked.pieces(text)
    )


@pytest.mark.parametrize(
    ("line", "pieces"),
    [
        ("", [""]),
        ("我们", ["我们"]),
        # tags: the shortest text, any closing name, optional slash
        ("<en>a</ja>b</en>", ["", "tag:<en>a</ja>", "", "latin:b</en>", ""]),
        ("<>x<>", ["", "tag:<>x<>", ""]),
        ("<zh-cn|x>我</a>", ["", "tag:<zh-cn|x>我</a>", ""]),
        (
            "<1>我</1>",
            ["", "number:<1>", "我", "number:</1>", ""],
        ),
        # scripts include what follows and opening characters before
        ("사랑 love", ["", "ko:사랑 ", "", "latin:love", ""]),
        ("สวัสดี", ["", "th:สวัสดี", ""]),
        ("(Ёж) - “да”", ["", "ru:(Ёж) - “да”", ""]),
        ("[verse]", ["[", "latin:verse]", ""]),
        ("-*我 “'love’ 你", ["-*我 ", "latin:“'love’ ", "你"]),
        # accents: lower case only, and not all
        ("été Été", ["", "latin:été ", "É", "latin:té", ""]),
        ("Straße", ["", "latin:Stra", "ß", "latin:e", ""]),
        ("øỳỵ ạ", ["øỳỵ ", "latin:ạ", ""]),
        # numbers need a character after them that is not a word character
        ("50", ["50"]),
        ("50我", ["50我"]),
        ("50 我", ["", "number:50 ", "我"]),
        ("1, 2, 3 我", ["", "number:1, 2, 3", " 我"]),
        ("我5.6.7.8", ["我", "number:5.6.7", ".8"]),
        # quotes and brackets
        ("我'你'他", ["我", "quote:'你'", "他"]),
        ('"我\'你"', ['"我\'你"']),
        ("我（你你你》！他", ["我", "bracket:（你你你》！", "他"]),
        ("我（你你）他", ["我（你你）他"]),
        ("（你你你）", ["（你你你）"]),
        # earlier placeholders may be inside
        ("我'你a'他", ["我'你", "latin:a'", "他"]),
        ("我'你<en>a</en>'他", ["我", "quote:'你<en>a</en>'", "他"]),
        ("我（<en>a</en>）他", ["我", "bracket:（<en>a</en>）", "他"]),
    ],
)
def test_pieces_of_a_line(line: str, pieces: list[str]) -> None:
    assert outer_pieces(line) == pieces


def test_a_masked_piece_has_name_and_inner_text() -> None:
    masked = MaskedLine("我<EN>Love</EN>“你你你” 他")
    tag, bracket = (piece for piece in masked.pieces(masked.text) if isinstance(piece, Hidden))
    assert (tag.name, tag.inner) == ("EN", "Love")
    assert (bracket.kind, bracket.inner, bracket.text) == ("bracket", "你你你", "“你你你” ")


def test_letters_of_placeholders_may_occur_in_the_line() -> None:
    line = "".join(map(chr, range(0x20000, 0x20050))) + " love"
    assert outer_pieces(line) == [line.removesuffix("love"), "latin:love", ""]


def test_more_placeholders_than_letters() -> None:
    line = "나a" * 5000
    assert outer_pieces(line) == ["", *(piece for _ in range(5000) for piece in ("ko:나", "", "latin:a", ""))]


TRICKY = st.text(alphabet="aÉé我の나я59 .,-'\"（）“”(<>/\n[♪_", max_size=40)


@given(TRICKY)
def test_unmasking_restores_the_line(line: str) -> None:
    masked = MaskedLine(line)
    assert unmasked(masked, masked.text) == line


OPENING = "【《（(“‘\"'"
PLAIN = {
    "ko": rf"(?:[{OPENING}]*[가-힣]+\W*)+",
    "number": r"\W*\d+\W+\d*\W*\d*",
    "latin": rf"(?:[{OPENING}]*[a-zA-Z{masking._ACCENTED}]+\W*)+",
    "bracket": r"[【《（(“‘][^【《（(“‘’”)）》】]{3,}[’”)）》】]\W*",
}


@given(TRICKY)
def test_linear_passes_match_as_the_plain_ones(line: str) -> None:
    for kind, pattern in masking._PASSES:
        if kind in PLAIN:
            spans = [match.span() for match in pattern.finditer(line)]
            assert spans == [match.span() for match in re.finditer(PLAIN[kind], line)], kind
