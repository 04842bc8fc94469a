"""A picture of two versions of a song as PNG: both waveforms, and the level of their difference in every second."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from acestep_flows.audio.locality import Change
from acestep_flows.audio.picture import DPI, INK, LOUD, draw_wave, style_axes
from acestep_flows.values import Audio

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 12.0, 5.0  # inches
FLOOR_DB = -80.0
"""The lowest level that is drawn; what is the same has no bar."""


def png(first: Audio | None, second: Audio | None, changes: Sequence[Change]) -> bytes:
    """The picture as the bytes of a PNG file of 1500 x 625 pixels.

    Args:
        first, second: the versions, A above B; None where they are latents, which have no waveform.
        changes: of every second, as `locality.by_second` gives them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    waves = [(name, audio) for name, audio in (("A", first), ("B", second)) if audio is not None]
    lengths = [audio.seconds for _, audio in waves]
    seconds = max([*lengths, sum(change.seconds for change in changes), 0.1])
    grid = figure.add_gridspec(
        len(waves) + 1, 1, height_ratios=[1.0] * len(waves) + [2.0], left=0.07, right=0.98, top=0.96, bottom=0.11
    )
    for row, (name, audio) in enumerate(waves):
        axes = figure.add_subplot(grid[row])
        draw_wave(axes, audio.samples.mean(axis=0), audio.seconds, name)
        axes.set_xlim(0, seconds)
    _draw_levels(figure.add_subplot(grid[len(waves)]), changes, seconds)
    stream = BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _draw_levels(axes: Axes, changes: Sequence[Change], seconds: float) -> None:
    """A bar for each second that differs, from the lowest level up."""
    starts = np.cumsum([0.0, *(change.seconds for change in changes)])[:-1]
    drawn = [(start, change) for start, change in zip(starts, changes, strict=True) if change.rms > 0]
    levels = [max(FLOOR_DB, 0.0 if change.decibels is None else change.decibels) - FLOOR_DB for _, change in drawn]
    lefts, widths = [start for start, _ in drawn], [change.seconds * 0.94 for _, change in drawn]
    axes.bar(lefts, levels, widths, bottom=FLOOR_DB, align="edge", color=LOUD)
    axes.set(xlim=(0, seconds), ylim=(FLOOR_DB, max(6.0, FLOOR_DB + max(levels, default=0.0) + 3)))
    axes.set_ylabel("difference (dB, A = 0)", color=INK)
    axes.set_xlabel("time (s)", color=INK)
    axes.axhline(0, color=INK, linewidth=0.6)
    style_axes(axes)
