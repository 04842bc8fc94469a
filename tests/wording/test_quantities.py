"""What people type for numbers, times, spans and yes or no: read with one meaning, or refused with what to write."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.errors import InputError
from acestep_flows.wording.quantities import is_null, read_number, read_span, read_truth, typed_form


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("27", 27),
        ("-3", -3),
        ("+3", 3),
        ("\u22123", -3),
        ("\u20133", -3),
        ("1_500", 1500),
        ("1e3", 1000.0),
        ("2.5", 2.5),
        (" 27 ", 27),
        ('"27"', 27),
        ("'27'", 27),
        ("\u201c27\u201d", 27),
        ("\uff12\uff17", 27),
        ("\uff11\uff12\uff0e\uff15", 12.5),
    ],
)
def test_numbers_are_read(text: str, value: float) -> None:
    read = read_number(text, "it", whole=True)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1:30", 90),
        ("0:05", 5),
        ("1:02:03", 3723),
        ("1:30.5", 90.5),
        ("20s", 20),
        ("20 s", 20),
        ("20 sec", 20),
        ("20 seconds", 20),
        ("2min", 120),
        ("1.5m", 90),
        ("1m30s", 90),
        ("1m30", 90),
        ("1h", 3600),
        ("90:00", 5400),
        ("-5", -5),  # read as it stands; the graph refuses it
    ],
)
def test_times_are_read_where_seconds_are_wanted(text: str, seconds: float) -> None:
    assert read_number(text, "it", unit="s") == seconds


def test_a_number_may_have_its_unit() -> None:
    assert read_number("-14 LUFS", "it", unit="LUFS") == -14
    assert read_number("3db", "it", unit="dB") == 3
    for text in ("1:30", "20s", "3dB"):
        with pytest.raises(InputError, match="is not a number"):
            read_number(text, "it")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,500", "it: '1,500' can be read as 1.5 or as 1500; write one of them"),
        ("-12,500", "it: '-12,500' can be read as -12.5 or as -12500; write one of them"),
        ("12,5", "it: '12,5' is not a number; write 12.5"),
        ("0,500", "it: '0,500' is not a number; write 0.500"),
        ("12,5s", "it: '12,5s' is not a number; write 12.5"),
        ("1:30,5", "it: '1:30,5' is not a number; write 1:30.5"),
        ("1,500,000", "it: '1,500,000' is not a number; write 1500000"),
        ("1.500,5", "it: '1.500,5' is not a number; write 1500.5"),
        ("1,500.5", "it: '1,500.5' is not a number; write 1500.5"),
        ("1'500", 'it: "1\'500" is not a number; write 1500'),
        ("1 500", "it: '1 500' is not a number; write 1500"),
        ("50%", "it: '50%' has a percent sign; write 0.5 or 50"),
        ("1/2", "it: '1/2' is not a number; write 0.5"),
        ("20ms", "it: '20ms' is not a number; write 0.02"),
        ("1:5", "it: '1:5' is not a number; write 1:05 or 65"),
        ("1:75", "it: '1:75' is not a number (allowed: a number)"),
        ("4-7", "it: '4-7' is not a number (allowed: a number)"),
        ("ten", "it: 'ten' is not a number (allowed: a number)"),
        ("", "it: '' is not a number (allowed: a number)"),
    ],
)
def test_other_notations_are_refused_with_what_to_write(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_number(text, "it", unit="s")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("4:7", [4, 7]),
        ("12:20.5", [12, 20.5]),
        ("4,7", [4, 7]),
        ("4-7", [4, 7]),
        ("4 - 7", [4, 7]),
        ("4\u20137", [4, 7]),
        ("4..7", [4, 7]),
        ("4 to 7", [4, 7]),
        ("4s-7s", [4, 7]),
        ("0:01:0:05", [1, 5]),
        ("0:01-0:05", [1, 5]),
        ("1:30-2:00", [90, 120]),
        ("1:02:03-1:05:00", [3723, 3900]),
        ("4:", [4, None]),
        ("4-", [4, None]),
        ("4:end", [4, None]),
        ("0:30-end", [30, None]),
        (":7", [0, 7]),
        ("\u201c4:7\u201d", [4, 7]),
        ("\uff14\uff1a\uff17", [4, 7]),
    ],
)
def test_spans_are_read(text: str, span: list[Any]) -> None:
    assert read_span(text, "it") == span


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "1:2:3",
            r"'1:2:3' can be read as 1:02 to 3 s or as 1 s to 2:03 \(allowed: start-end, such as 1:02-3 or 1-2:03",
        ),
        ("1:30:", r"'1:30:' is not a span; write 1:30-end or 30-end"),
        ("12,5:20,5", r"'12,5:20,5' is not a span; write 12\.5:20\.5"),
        ("4,5,7,5", r"'4,5,7,5' is not a span; write 4\.5:7\.5"),
        *(
            (text, "allowed: start:end in seconds, such as")
            for text in ("10", "", "-7", "4-7-9", "a:b", "50%-75%", "4 7")
        ),
    ],
)
def test_what_is_no_span_says_what_to_write(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_span(text, "it")


@pytest.mark.parametrize(("text", "truth"), [("yes", True), ("ON", True), ("1", True), ("No", False), ("off", False)])
def test_yes_and_no(text: str, truth: bool) -> None:
    assert read_truth(text, "it") is truth
    with pytest.raises(InputError, match="neither true nor false"):
        read_truth("maybe", "it")


def test_none_and_null_are_no_value() -> None:
    assert all(is_null(text) for text in ("null", "none", "None", " null "))
    assert not any(is_null(text) for text in ("", "0", "nothing", "no"))


@pytest.mark.parametrize(
    ("text", "kind", "form"),
    [
        ("1:30", "float", "90"),
        ("20s", "float", "20"),
        ("3", "int", "3"),
        ("yes", "bool", "true"),
        ("4-7", "span", "[4, 7]"),
        ("4:", "span", "[4, null]"),
        ("ten", "float", ""),
        ("1,500", "float", ""),
        ("3", "text", ""),
    ],
)
def test_typed_doors_can_say_how_a_text_is_written(text: str, kind: str, form: str) -> None:
    assert typed_form(text, kind) == form


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_as_python_writes_it_is_itself(value: float) -> None:
    assert read_number(repr(value), "it") == value
    assert math.isclose(read_number(repr(value), "it", unit="s"), value)


@given(st.text(alphabet="0123456789:,.-'% smhend\u2013[]\"", max_size=14))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    for message in (refusal(text, partial(read_number, unit="s")), refusal(text, read_span), refusal(text, read_truth)):
        assert not message or message.startswith("it: ")
        assert len(message) < 400


def refusal(text: str, read: Callable[[str, str], Any]) -> str:
    """The message that `read` refuses a text with; empty where it is read."""
    try:
        read(text, "it")
    except InputError as error:
        return str(error)
    return ""
