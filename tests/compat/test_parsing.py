"""Values as clients write them."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.compat.parsing import (
    boolean,
    choice,
    integer,
    integers,
    is_absent,
    json_object,
    number,
    read_json,
    seeds,
    text,
)


@pytest.mark.parametrize(
    ("parse", "sent", "value"),
    [
        (integer(), "7", 7),
        (integer(), "7.0", 7),
        (integer(), 7.0, 7),
        (integer(), "-1", -1),
        (number(), "7.5", 7.5),
        (number(), 1, 1.0),
        (boolean(), "true", True),
        (boolean(), "False", False),
        (boolean(), "1", True),
        (boolean(), 0, False),
        (boolean(), 1.0, True),
        (choice(("euler", "heun")), "Euler ", "euler"),
        (choice({"ode": "euler"}), "ode", "euler"),
        (text(), "  as it is \n", "  as it is \n"),
        (text(), 90, "90"),
        (seeds(), "7", [7]),
        (seeds(), 7, [7]),
        (seeds(), "1, 2", [1, 2]),
        (seeds(), [1, "2"], [1, 2]),
        (seeds(), "[42]", [42]),
        (seeds(), "None", []),
        (seeds(), "-1", [None]),
        (integers(1, 9, 3), "[1, 2]", [1, 2]),
        (json_object, '{"a": 1}', {"a": 1}),
    ],
)
def test_a_value_is_read_in_any_of_its_forms(parse: Any, sent: Any, value: Any) -> None:
    read = parse(sent)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("parse", "sent"),
    [
        (integer(), 7.5),
        (integer(), True),
        (integer(), "1e3x"),
        (integer(0, 5), 6),
        (number(), "nan"),
        (number(), "inf"),
        (number(), True),
        (number(), 10**400),
        (boolean(), 2),
        (boolean(), []),
        (choice(("a",)), "b"),
        (choice(("a",)), 1),
        (text(3), "four"),
        (text(), ["a"]),
        (seeds(), [[1]]),
        (seeds(), "a"),
        (seeds(2), [1, 2, 3]),
        (integers(1, 9, 3), [10]),
        (json_object, "[1]"),
        (json_object, "{" * 100_000),
    ],
)
def test_what_is_no_value_is_refused_with_what_is_allowed(parse: Any, sent: Any) -> None:
    with pytest.raises(ValueError, match="."):
        parse(sent)


@pytest.mark.parametrize("content", ['{"a": NaN}', "[-Infinity]", "1e999", '"\\ud800"', '{"\\udc00": 1}', "{", ""])
def test_json_that_no_answer_could_have_is_refused(content: str) -> None:
    for form in (content, content.encode()):
        with pytest.raises(ValueError, match="."):
            read_json(form)


def test_bytes_of_half_a_character_are_refused() -> None:
    for content in (b'"\xed\xa0\x80"', '"\\ud800"'.encode("utf-16")):
        with pytest.raises(ValueError, match="."):
            read_json(content)


def test_json_is_read() -> None:
    assert read_json(b'{"a": [1.5, -2e3, null], "b": "\\ud83c\\udfb5"}') == {
        "a": [1.5, -2000.0, None],
        "b": "\U0001f3b5",
    }


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists))
def test_a_parser_raises_nothing_else(sent: Any) -> None:
    for parse in (integer(), number(), boolean(), choice(("a",)), text(9), seeds(), integers(0, 9, 9), json_object):
        with contextlib.suppress(ValueError):
            parse(sent)


def test_empty_text_and_null_are_not_sent() -> None:
    values: list[Any] = [None, "", "  ", 0, False, [], "0"]
    assert [value for value in values if not is_absent(value)] == [0, False, [], "0"]
