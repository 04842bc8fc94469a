"""YAML with places: what scalars mean, where things stand, and that nothing in a file can do harm."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.graph.language.document import Fields, Items, Scalar, SourcePosition, plain, read


def value(text: str) -> Any:
    root, problems = read(f"x: {text}")
    assert problems == []
    assert isinstance(root, Fields)
    return plain(root)["x"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", 12), ("-3", -3), ("+7", 7), ("007", 7), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("-2.E-2", -0.02),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("no", "no"), ("on", "on"), ("1:30", "1:30"), ("0x1f", "0x1f"), ("1_0", "1_0"), ("2024-01-01", "2024-01-01"),
        ("'12'", "12"), ('"true"', "true"), ("9" * 60, "9" * 60), ("=", "="), ("<<", "<<"),
    ],
)  # fmt: skip
def test_plain_scalars_follow_yaml_1_2(text: str, expected: Any) -> None:
    result = value(text)
    assert result == expected
    assert type(result) is type(expected)


def test_every_key_and_value_has_its_place() -> None:
    root, problems = read("a: 1\nlist:\n  - x\n  - {k: v}\n")
    assert problems == []
    assert isinstance(root, Fields)
    assert root.keys == {"a": SourcePosition(1, 1), "list": SourcePosition(2, 1)}
    assert root.entries["a"] == Scalar(1, SourcePosition(1, 4))
    inner = root.entries["list"]
    assert isinstance(inner, Items)
    assert inner.items[0] == Scalar("x", SourcePosition(3, 5))
    assert inner.items[1] == Fields(
        {"k": Scalar("v", SourcePosition(4, 9))}, {"k": SourcePosition(4, 6)}, SourcePosition(4, 5)
    )


def test_columns_count_characters() -> None:
    root, _ = read("\u00e4\U0001f3b5: {\u597d: 1}")
    assert isinstance(root, Fields)
    assert root.entries["\u00e4\U0001f3b5"].entries["\u597d"].place == SourcePosition(1, 9)


def test_a_byte_order_mark_and_windows_lines_are_read() -> None:
    root, problems = read(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert (plain(root), problems) == ({"a": 1, "b": 2}, [])


def test_of_two_equal_keys_the_first_counts() -> None:
    root, problems = read("a: 1\nb: 2\na: 3\n")
    assert plain(root) == {"a": 1, "b": 2}
    assert [(p.rule, p.line, p.column) for p in problems] == [("duplicate-key", 3, 1)]


def test_half_characters_in_a_str_are_refused() -> None:
    assert [p.rule for p in read("a: \ud800")[1]] == ["not-text"]


@pytest.mark.parametrize(
    "hostile",
    [
        "- " * 400_000, "[" * 900_000, "{" * 900_000, "? " * 400_000, "[a: " * 200_000, "[" + "1," * 400_000 + "]",
        "a:\n" * 300_000, "- a\n" * 240_000, "#" * 900_000, "\n" * 900_000, "&a " * 300_000, "|\n" + " a\n" * 300_000,
        "[" + "a\n" * 400_000, "--- " * 200_000, '"' + "\\n" * 400_000 + '"', "a: " + "9" * 900_000,
        "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n", "%YAML 9.9\n---\na: 1", "%TAG ! tag:x,2000:\n---\n!a b",
    ],
    ids=lambda text: repr(text[:12]),
)  # fmt: skip
def test_hostile_text_is_done_with_in_no_time(hostile: str) -> None:
    start = time.thread_time()
    read(hostile)
    assert time.thread_time() - start < 3  # about 0.2 s at most


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz_", min_size=1), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(json_like)
def test_what_yaml_writes_is_read_back(content: Any) -> None:
    # One line of flow style in quotes where needed; PyYAML's own words for booleans and null are those of YAML 1.2.
    root, problems = read(yaml.safe_dump({"x": content}, allow_unicode=True, sort_keys=False, width=math.inf))
    if not problems:  # an anchor, where the dumper sees one object twice
        assert plain(root) == {"x": content}


@given(st.text())
def test_any_text_gives_a_tree_or_problems(text: str) -> None:
    root, problems = read(text)
    assert root is not None or problems or not text.strip("\ufeff \n\r\t\x85\u2028\u2029") or "#" in text or "-" in text


@given(st.binary())
def test_any_bytes_give_no_traceback(content: bytes) -> None:
    read(content)
