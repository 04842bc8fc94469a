"""Plots: well-formed SVG for any numbers there can be."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.bulk.report import plots

numbers = st.lists(st.none() | st.floats(-1e9, 1e9) | st.sampled_from([math.nan, math.inf, 0.0, 5.0]), max_size=40)


def heights(drawing: str) -> list[float]:
    return [float(found) for found in re.findall(r'<rect[^>]* height="([\d.]+)"', drawing)]


@settings(max_examples=60, deadline=None)
@given(numbers)
def test_histograms_of_anything(values: list[float | None]) -> None:
    drawing = plots.histogram(values, "s", "Duration <all>")
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        assert drawing == ""
        return
    ElementTree.fromstring(drawing)
    assert "nan" not in drawing
    titles = re.findall(r": (\d+)</title>", drawing)
    assert sum(map(int, titles)) == len(known)
    assert ("without" in drawing) == (len(known) < len(values))


def test_equal_values_make_one_bar() -> None:
    drawing = plots.histogram([0.25] * 7, "s", "Duration")
    assert len(heights(drawing)) == 1
    labels = re.findall(r'text-anchor="middle">([^<]+)</text>', drawing)
    assert len(labels) == len(set(labels)) >= 2


def test_bars_keep_their_order_and_say_what_is_left_out() -> None:
    assert plots.bars({}, "Causes") == ""
    drawing = plots.bars({f"<cause {number}>": 40 - number for number in range(30)}, "Causes")
    ElementTree.fromstring(drawing)
    assert drawing.index("cause 0") < drawing.index("cause 1")
    assert "6 more" in drawing
    assert "cause 29" not in drawing


def test_columns() -> None:
    assert plots.columns({"C": 0, "D": 0}, "Key") == ""
    drawing = plots.columns({"C": 1, "D": 3}, "Key")
    ElementTree.fromstring(drawing)
    low, high = heights(drawing)
    assert high == pytest.approx(3 * low, rel=0.01)


def test_a_curve_needs_two_points() -> None:
    assert plots.curve([(0, 1)], "Songs", "s") == ""
    ElementTree.fromstring(plots.curve([(0, 1), (0, 2)], "Songs", "s"))
    drawing = plots.curve([(float(x), float(x)) for x in range(10_000)], "Songs", "s")
    ElementTree.fromstring(drawing)
    assert len(drawing) < 20_000


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-7, 3), (0.001, 0.0013), (1e6, 3e6), (119.5, 120.5)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    found = plots.ticks(low, high)
    assert 2 <= len(found) <= 6
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (12345.6, "12,346"), (999.96, "1000"), (0.01234, "0.0123"), (-3, "-3"), (2.5, "2.5")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert plots.number(value) == text
