"""Plots as SVG text: histograms, bars and curves that need no script and follow the page's colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import TypeAlias

import numpy as np

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 38, 10, 10, 34
BINS = 25  # odd: where all values are equal, they stand in the middle
MOST_BARS = 24
BAR = 22  # height of a row of horizontal bars

Place: TypeAlias = Callable[[float], float]


def histogram(values: Iterable[float | None], unit: str, name: str) -> str:
    """A histogram of `values`; those that are None or not finite are only counted. Empty without values."""
    values = list(values)
    known = np.array([value for value in values if value is not None and math.isfinite(value)])
    if len(known) == 0:
        return ""
    low, high = _range(float(known.min()), float(known.max()))
    counts, edges = np.histogram(known, bins=BINS, range=(low, high))
    top = max(int(counts.max()), 1)
    across = _scale(low, high, LEFT, WIDTH - RIGHT)
    up = _scale(0, top, HEIGHT - BOTTOM, TOP)
    parts = [_across(across, low, high, unit), _up(up, top)]
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            title = f"{number(left)} to {number(right)} {unit}: {count}"
            x, y = across(left), up(float(count))
            parts.append(
                f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{max(across(right) - x - 1, 0.5):.1f}" '
                f'height="{HEIGHT - BOTTOM - y:.1f}"><title>{escape(title)}</title></rect>'
            )
    middle = float(np.median(known))
    parts.append(
        f'<line class="mark" x1="{across(middle):.1f}" x2="{across(middle):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}">'
        f"<title>median {escape(number(middle))} {escape(unit)}</title></line>"
    )
    missing = len(values) - len(known)
    note = (
        f"median {number(middle)} {unit}".rstrip() + f", {number(float(known.min()))} to {number(float(known.max()))}"
    )
    note += f"; {missing} without" if missing else ""
    return _figure(name, note, _svg(WIDTH, HEIGHT, parts, f"{name}: {note}"))


def bars(counts: Mapping[str, float], name: str, unit: str = "", note: str = "", kind: str = "bar") -> str:
    """One horizontal bar for each entry, in the order given; empty without any."""
    entries = list(counts.items())[:MOST_BARS]
    if not entries:
        return ""
    top = max([1e-12, *(value for _, value in entries)])
    labels = 118
    span = WIDTH - labels - 62
    parts = []
    for place, (label, value) in enumerate(entries):
        y = place * BAR
        length = max(span * value / top, 1.0)
        text = f"{number(value)} {unit}".rstrip()
        short = label if len(label) <= 18 else label[:17] + "."
        parts += [
            f'<text x="{labels - 6}" y="{y + 15}" text-anchor="end">{escape(short)}'
            f"<title>{escape(label)}</title></text>",
            f'<rect class="{kind}" x="{labels}" y="{y + 4}" width="{length:.1f}" height="{BAR - 7}" rx="2"/>',
            f'<text class="faint" x="{labels + length + 5:.1f}" y="{y + 15}">{escape(text)}</text>',
        ]
    if len(counts) > len(entries):
        note = f"{note}{'; ' if note else ''}{len(counts) - len(entries)} more"
    return _figure(name, note, _svg(WIDTH, len(entries) * BAR + 4, parts, name))


def columns(counts: Mapping[str, float], name: str, note: str = "") -> str:
    """One upright bar for each entry, in the order given; empty where all are zero."""
    if not any(counts.values()):
        return ""
    top = max(counts.values())
    up = _scale(0, top, HEIGHT - BOTTOM, TOP)
    step = (WIDTH - LEFT - RIGHT) / len(counts)
    parts = [_up(up, top)]
    for place, (label, value) in enumerate(counts.items()):
        x, y = LEFT + place * step, up(value)
        parts.append(
            f'<rect class="bar" x="{x + 1:.1f}" y="{y:.1f}" width="{step - 2:.1f}" height="{HEIGHT - BOTTOM - y:.1f}">'
            f"<title>{escape(label)}: {number(value)}</title></rect>"
        )
        parts.append(
            f'<text text-anchor="end" transform="translate({x + step / 2 + 3:.1f} {HEIGHT - BOTTOM + 8}) rotate(-60)" '
            f'class="tick">{escape(label)}</text>'
        )
    return _figure(name, note, _svg(WIDTH, HEIGHT + 8, parts, name))


def curve(
    points: Sequence[tuple[float, float]], name: str, across_unit: str, note: str = "", wide: bool = False
) -> str:
    """A rising line through `points` (x, y), from (0, 0); empty with fewer than two."""
    if len(points) < 2:
        return ""
    far, top = max(points[-1][0], 1e-9), max([1.0, *(y for _, y in points)])
    across, up = _scale(0, far, LEFT, WIDTH - RIGHT), _scale(0, top, HEIGHT - BOTTOM, TOP)
    drawn = [points[place] for place in sorted({round(at) for at in np.linspace(0, len(points) - 1, 400)})]
    line = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in drawn)
    parts = [_across(across, 0, far, across_unit), _up(up, top)]
    parts.append(f'<polyline class="line" points="{across(0):.1f},{up(0):.1f} {line}"/>')
    return _figure(name, note, _svg(WIDTH, HEIGHT, parts, name))


def number(value: float) -> str:
    """A number as short as a reader needs it."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    return f"{value:.0f}" if "e+" in text else text


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """At most about `most` round numbers between `low` and `high`."""
    step = 10 ** math.floor(math.log10((high - low) / most))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= most)
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 10) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def _range(low: float, high: float) -> tuple[float, float]:
    """The range to draw: where all is nearly the same, wide enough that rounding does not look like a spread."""
    middle = (low + high) / 2
    least = 0.1 * abs(middle) if abs(middle) > 1e-9 else 1.0
    return (low, high) if high - low >= 0.1 * least else (middle - least / 2, middle + least / 2)


def _scale(low: float, high: float, start: float, end: float) -> Place:
    """From a value between `low` and `high` to its place in the picture between `start` and `end`."""
    factor = (end - start) / (high - low)
    return lambda value: start + (value - low) * factor


def _across(place: Place, low: float, high: float, unit: str) -> str:
    y = HEIGHT - BOTTOM
    parts = [f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>']
    for tick in ticks(low, high):
        parts.append(
            f'<text class="tick" x="{place(tick):.1f}" y="{y + 13}" text-anchor="middle">{number(tick)}</text>'
        )
    parts.append(f'<text class="tick" x="{WIDTH - RIGHT}" y="{y + 27}" text-anchor="end">{escape(unit)}</text>')
    return "".join(parts)


def _up(place: Place, top: float) -> str:
    parts = []
    for tick in ticks(0, top, 4):
        if top < 4 and tick != int(tick):
            continue
        y = place(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{number(tick)}</text>')
    return "".join(parts)


def _svg(width: int, height: int, parts: Iterable[str], label: str) -> str:
    content = "".join(parts)
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">{content}</svg>'


def _figure(name: str, note: str, drawing: str) -> str:
    below = f"<p>{escape(note)}</p>" if note else ""
    return f"<figure><figcaption>{escape(name)}</figcaption>{drawing}{below}</figure>"
