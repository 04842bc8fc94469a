"""Draws a graph with matplotlib: parts in layers from left to right, arrows around the boxes.

The layers are those of Sugiyama: each part stands right of all it needs, arrows that cross a layer pass through a
waypoint in it, and a few sweeps put every part near the middle of its neighbours.
"""

from __future__ import annotations

import io
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acestep_flows import storage
from acestep_flows.graph.language.syntax import Graph
from acestep_flows.graph.views.draw import COLOURS, DrawnBox, Picture, picture

BOX_HEIGHT = 0.5
ROW = 0.72
WAYPOINT_ROW = 0.26
GAP = 0.95
SWEEPS = 12
INK, FAINT, LINE = "#20262e", "#5b6470", "#8d97a5"

Point = tuple[float, float]


@dataclass
class _Canvas:
    """Where everything stands, in inches.

    Attributes:
        routes: ids along each arrow, from part to part by way of waypoints.
        at: centre of every part and waypoint.
        widths: of the parts; `columns`: of the layer that a waypoint crosses, level, so as to hit no box.
    """

    routes: dict[tuple[str, str], list[str]]
    at: dict[str, Point]
    widths: dict[str, float]
    columns: dict[str, float]


def png(graph: Graph, dpi: int = 130) -> bytes:
    """The picture of a graph as PNG bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = picture(graph)
    layout = _lay_out(drawn)
    ys = [y for _, y in layout.at.values()] or [0.0]
    left = min((x - layout.widths.get(name, 0) / 2 for name, (x, _) in layout.at.items()), default=0.0) - 0.25
    right = max((x + layout.widths.get(name, 0) / 2 for name, (x, _) in layout.at.items()), default=1.0) + 0.25
    bottom, top = min(ys) - 0.55, max(ys) + 0.85
    most = 60_000 / dpi  # the renderer refuses pictures of 2^16 pixels and more
    scale = min(1.0, most / (right - left), most / (top - bottom))
    figure = Figure(figsize=((right - left) * scale, (top - bottom) * scale), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_axis_off()
    axes.text(left + 0.25, top - 0.32, drawn.title, fontsize=13, fontweight="bold", color=INK, va="center")
    for arrow in drawn.arrows:
        if (arrow.source, arrow.target) in layout.routes:
            _paint_arrow(axes, layout, (arrow.source, arrow.target), arrow.label)
    for part in drawn.parts:
        _paint_part(axes, layout, part)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def write_png(graph: Graph, path: Path) -> None:
    """Write the picture to `path`.

    Raises:
        StorageError: it cannot be written.
    """
    storage.write(path, png(graph))


def _lay_out(drawn: Picture) -> _Canvas:
    layer = _layers(drawn)
    layers: list[list[str]] = [[] for _ in range(max(layer.values(), default=0) + 1)]
    for part in drawn.parts:
        layers[layer[part.id]].append(part.id)
    routes: dict[tuple[str, str], list[str]] = {}
    for arrow in drawn.arrows:
        start, end = layer[arrow.source], layer[arrow.target]
        if start >= end:  # part of a circle in a graph that does not check
            continue
        between = [f"{arrow.source}>{arrow.target}@{at}" for at in range(start + 1, end)]
        for at, waypoint in zip(range(start + 1, end), between, strict=True):
            layers[at].append(waypoint)
        routes[arrow.source, arrow.target] = [arrow.source, *between, arrow.target]
    before, after = _neighbours(routes.values())
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        for names in layers if forward else reversed(layers):
            _sort_by_middle(names, layers, before if forward else after)
    widths = {part.id: _width(part) for part in drawn.parts}
    columns = {
        name: max((widths.get(other, 0.0) for other in names), default=0.0) for names in layers for name in names
    }
    return _Canvas(routes, _places(layers, widths, before, after), widths, columns)


def _layers(drawn: Picture) -> dict[str, int]:
    """Longest way from an input to each part; inputs stand close before their first use, outputs in the last layer."""
    sources, targets = defaultdict(list), defaultdict(list)
    for arrow in drawn.arrows:
        sources[arrow.target].append(arrow.source)
        targets[arrow.source].append(arrow.target)
    layer: dict[str, int] = {}
    waiting = {part.id: {name for name in sources[part.id] if name != part.id} for part in drawn.parts}
    while waiting:
        free = [name for name, needs in waiting.items() if not needs & waiting.keys()] or [next(iter(waiting))]
        for name in free:
            layer[name] = 1 + max((layer[need] for need in waiting[name] if need in layer), default=-1)
        for name in free:
            del waiting[name]
    last = max(layer.values(), default=0)
    for part in drawn.parts:
        if part.role == "output":
            layer[part.id] = last
        elif not sources[part.id] and targets[part.id]:
            layer[part.id] = max(0, min(layer[name] for name in targets[part.id]) - 1)
    return layer


def _neighbours(routes: Any) -> tuple[Mapping[str, list[str]], Mapping[str, list[str]]]:
    before, after = defaultdict(list), defaultdict(list)
    for route in routes:
        for left, right in itertools.pairwise(route):
            before[right].append(left)
            after[left].append(right)
    return before, after


def _sort_by_middle(names: list[str], layers: Sequence[list[str]], neighbours: Mapping[str, list[str]]) -> None:
    """Order one layer by the mean position of each part's neighbours; parts without any keep their place."""
    position = {name: at / max(len(layer), 1) for layer in layers for at, name in enumerate(layer)}
    middle = {
        name: sum(position[near] for near in neighbours[name]) / len(neighbours[name])
        if neighbours.get(name)
        else position[name]
        for name in names
    }
    names.sort(key=lambda name: middle[name])


def _places(
    layers: Sequence[list[str]], widths: Mapping[str, float], before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, Point]:
    """Columns as wide as their widest box; rows pulled towards the neighbours, then pushed apart again."""
    rows: dict[str, float] = {}
    for names in layers:
        heights = [ROW if name in widths else WAYPOINT_ROW for name in names]
        y = sum(heights) / 2
        for name, height in zip(names, heights, strict=True):
            rows[name] = y - height / 2
            y -= height
    for sweep in range(SWEEPS):
        for names in layers if sweep % 2 else reversed(layers):
            wanted = []
            for name in names:
                near = [*before.get(name, ()), *after.get(name, ())]
                wanted.append(sum(rows[other] for other in near) / len(near) if near else rows[name])
            for name, y in zip(
                names, _apart(wanted, [ROW if n in widths else WAYPOINT_ROW for n in names]), strict=True
            ):
                rows[name] = y
    places: dict[str, Point] = {}
    x = 0.0
    for names in layers:
        width = max((widths.get(name, 0.0) for name in names), default=0.0)
        for name in names:
            places[name] = (x + width / 2, rows[name])
        x += width + GAP
    return places


def _apart(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Rows in the given order, downwards, near where they want to be and at least their heights apart.

    Least squares under an order: neighbours that would overlap are merged into blocks with one mean (isotonic
    regression by pooling).
    """
    offsets = [0.0][: len(heights)]
    for upper, lower in itertools.pairwise(heights):
        offsets.append(offsets[-1] + (upper + lower) / 2)
    blocks: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        block = (-want - offset, 1)
        while blocks and blocks[-1][0] >= block[0]:
            mean, size = blocks.pop()
            block = ((mean * size + block[0] * block[1]) / (size + block[1]), size + block[1])
        blocks.append(block)
    means = [mean for mean, size in blocks for _ in range(size)]
    return [-(mean + offset) for mean, offset in zip(means, offsets, strict=True)]


def _width(part: DrawnBox) -> float:
    return max(0.9, 0.098 * len(part.name), 0.074 * len(part.note)) + 0.24


def _paint_part(axes: Any, layout: _Canvas, part: DrawnBox) -> None:
    from matplotlib.patches import FancyBboxPatch

    (x, y), width = layout.at[part.id], layout.widths[part.id]
    fill, line = COLOURS[part.role]
    rounding = BOX_HEIGHT / 2 if part.role in ("input", "output") else 0.08
    for shift in (0.1, 0.05, 0.0) if part.repeated else (0.0,):
        box = FancyBboxPatch(
            (x - width / 2 + shift, y - BOX_HEIGHT / 2 + shift), width, BOX_HEIGHT,
            boxstyle=f"round,pad=0,rounding_size={rounding}", facecolor=fill, edgecolor=line,
            linewidth=1.9 if part.role == "graph" else 1.1, linestyle=(0, (4, 2)) if part.conditional else "solid",
            zorder=3 + (0.1 - shift),
        )  # fmt: skip
        axes.add_patch(box)
    lift = 0.085 if part.note else 0.0
    style: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 5, "parse_math": False}
    axes.text(x, y + lift, part.name, fontsize=9.5, color=INK, fontweight="bold", **style)
    if part.note:
        axes.text(x, y - 0.11, part.note, fontsize=7.5, color=FAINT, **style)


def _paint_arrow(axes: Any, layout: _Canvas, ends: tuple[str, str], label: str) -> None:
    from matplotlib.patches import FancyArrowPatch

    route = layout.routes[ends]
    (x, y), (end_x, end_y) = layout.at[route[0]], layout.at[route[-1]]
    points = [(x + layout.widths[route[0]] / 2, y)]
    for name in route[1:-1]:
        (x, y), half = layout.at[name], layout.columns[name] / 2
        points += [(x - half, y), (x + half, y)]
    points.append((end_x - layout.widths[route[-1]] / 2 - 0.02, end_y))
    arrow = FancyArrowPatch(
        path=_smooth(points), arrowstyle="-|>,head_length=3.2,head_width=1.7", mutation_scale=1.6,
        color=LINE, linewidth=1.0, zorder=1, shrinkA=0, shrinkB=0,
    )  # fmt: skip
    axes.add_patch(arrow)
    if label:
        (x1, y1), (x2, y2) = points[-2:]
        plate = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}
        middle = ((x1 + x2) / 2, (y1 + y2) / 2)
        axes.text(*middle, label, fontsize=6.8, color=FAINT, ha="center", va="center", zorder=2, bbox=plate,
                  parse_math=False)  # fmt: skip


def _smooth(points: Sequence[Point]) -> Any:
    """A curve through the points that leaves and enters each of them level."""
    from matplotlib.path import Path as Curve

    vertices, codes = [points[0]], [Curve.MOVETO]
    for (x1, y1), (x2, y2) in itertools.pairwise(points):
        bend = (x2 - x1) * 0.5
        vertices += [(x1 + bend, y1), (x2 - bend, y2), (x2, y2)]
        codes += [Curve.CURVE4] * 3
    return Curve(vertices, codes)
