"""Whether a given value is of a declared type, and the form it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.errors import InputError
from acestep_flows.graph.language.parse import parse
from acestep_flows.graph.language.types import Declaration, accept, parse_type
from acestep_flows.stages.ports import PortType
from acestep_flows.values import MAX_SEED, Audio, Latents, Span

AUDIO = Audio(np.zeros((1, 10), np.float32), 44_100)


def declared(text: str) -> Declaration:
    graph = parse(f"graph: g\nversion: 1\ninputs: {{x: {text}}}\nnodes: {{}}\noutputs: {{o: $x}}\n")
    assert graph.problems == ()
    return graph.inputs["x"]


def accepted(text: str, value: Any) -> Any:
    return accept(declared(text), value, "x", len)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("{type: text}", "a", "a"),
        ("{type: int}", 3, 3),
        ("{type: int}", 3.0, 3),
        ("{type: int}", np.int64(3), 3),
        ("{type: float}", 3, 3.0),
        ("{type: float}", np.float32(0.5), 0.5),
        ("{type: bool}", True, True),
        ("{type: seed}", MAX_SEED, MAX_SEED),
        ("{type: seed}", "random", 1),
        ("{type: list of seed}", [7, "random"], [7, 4]),
        ("{type: span}", [1, 2.5], Span(1.0, 2.5)),
        ("{type: span}", {"start": 0, "end": 1}, Span(0.0, 1.0)),
        ("{type: span}", Span(0.0, 1.0), Span(0.0, 1.0)),
        ("{type: audio}", AUDIO, AUDIO),
        ("{type: audio, default: null}", None, None),
        ("{type: list of audio}", (AUDIO,), [AUDIO]),
        ("{type: list of list of int}", [[1], []], [[1], []]),
        (
            "{type: record, fields: {a: {type: int}, b: {type: float, default: 2}}}",
            {"a": 1},
            {"a": 1, "b": 2.0},
        ),
    ],
)
def test_accepted(kind: str, value: Any, expected: Any) -> None:
    result = accepted(kind, value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("{type: text}", 3, "x: 3 (allowed: text)"),
        ("{type: text}", "\ud800", "x: an invalid Unicode character (lone surrogate) (allowed: Unicode text)"),
        ("{type: text, longest: 3}", "abcd", "x: 4 characters (allowed: at most 3 characters)"),
        ("{type: text, choices: [a, b]}", "c", "x: c (allowed: a, b)"),
        ("{type: text, choices: [key_fit, rms_dbfs]}", "key", "x: key, nearest 'key_fit' (allowed: key_fit, rms_dbfs)"),
        ("{type: int, choices: [1, 12]}", 11, "x: 11 (allowed: 1, 12)"),
        ("{type: int}", 3.5, "x: 3.5 (allowed: a whole number)"),
        ("{type: int}", True, "x: true (allowed: a whole number)"),
        ("{type: int}", "3", "x: text '3'; write 3 (allowed: a whole number)"),
        ("{type: int}", None, "x: null (allowed: a whole number)"),
        ("{type: int, minimum: 1, maximum: 9, unit: s}", 0, "x: 0 (allowed: 1 to 9 s)"),
        ("{type: float}", float("nan"), "x: nan (allowed: a finite number)"),
        ("{type: float}", float("inf"), "x: inf (allowed: a finite number)"),
        ("{type: float}", 10**400, "x: a number of more than 60 digits (allowed: a finite number)"),
        ("{type: bool}", 1, "x: 1 (allowed: true or false)"),
        ("{type: seed}", -1, f"x: -1 (allowed: 0 to {MAX_SEED}, or 'random')"),
        ("{type: seed}", 2**40, f"x: {2**40} (allowed: 0 to {MAX_SEED}, or 'random')"),
        ("{type: span}", [2, 1], "x: 2 to 1 s (allowed: 0 <= start < end, in seconds)"),
        ("{type: span}", [1], "x: a list of 1 (allowed: [start, end] or {start: ..., end: ...}, in seconds)"),
        ("{type: span}", [0, 1e400], "x: end is inf (allowed: a finite number of seconds)"),
        ("{type: audio}", "song.wav", "x: text 'song.wav' (allowed: a value of type audio)"),
        (
            "{type: audio}",
            Latents(np.zeros((8, 16, 1), np.float32)),
            "x: a value of type latents (allowed: a value of type audio)",
        ),
        ("{type: list of int}", 3, "x: 3 (allowed: a list of whole numbers)"),
        ("{type: list of int, maximum: 5}", [1, 6], "x[1]: 6 (allowed: at most 5)"),
        ("{type: list of int, shortest: 1}", [], "x: empty (allowed: at least 1 element)"),
        ("{type: list of int}", [0] * 100_001, "x: 100001 elements (allowed: at most 100000)"),
        ("{type: record, fields: {a: {type: int}}}", {}, "x.a: missing (allowed: a whole number)"),
        ("{type: record, fields: {a: {type: int}}}", {"a": 1, "b": 2}, "x: no field 'b'; allowed: a"),
        ("{type: record, fields: {a: {type: int}}}", {"a": "b"}, "x.a: text 'b' (allowed: a whole number)"),
        ("{type: record, fields: {a: {type: int}}}", [1], "x: a list of 1 (allowed: a map with a)"),
    ],
)
def test_refused(kind: str, value: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        accepted(kind, value)
    assert str(caught.value) == message


def test_types_are_parsed() -> None:
    assert parse_type("list of list of seed") == PortType("list", PortType("list", PortType("seed")))
    assert parse_type(" text ") == PortType("text")
    assert isinstance(parse_type("list"), str)
    assert isinstance(parse_type("list of " * 5 + "int"), str)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.just(AUDIO)
    | st.complex_numbers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=6,
)
KINDS = [
    "text", "int", "float", "bool", "seed", "span", "audio", "list of span", "list of list of int",
    "record, fields: {a: {type: int}, start: {type: float, default: 1}}",
]  # fmt: skip


@given(st.sampled_from(KINDS), anything)
def test_anything_is_accepted_or_refused_in_words(kind: str, value: Any) -> None:
    try:
        result = accepted(f"{{type: {kind}}}", value)
    except InputError as error:
        message = str(error)
    else:
        assert accept(declared(f"{{type: {kind}}}"), result, "x", lambda _: 0) == result
        return
    assert message.startswith("x")
    assert len(message) < 1000
