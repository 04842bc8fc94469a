"""A picture of a song as PNG: the waveform of each channel above the spectrogram."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from acestep_flows import storage
from acestep_flows.audio import spectrum
from acestep_flows.audio.loudness import sample_peak
from acestep_flows.values import Audio, FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

WIDTH, HEIGHT, DPI = 12.0, 6.4, 125  # inches, inches, pixels per inch: 1500 x 800
COLUMNS = 1300  # about one per pixel of the plot
ROWS = 480
RANGE_DB = 90.0
COMPRESSION = 4  # of 9: takes a third of the time of the default 6, for 3 % more bytes
FULL_SCALE = 0.9999  # as in `measure`
TITLE_LETTERS, TITLE_GAP = 120, 30  # longest title; pixels between it and the text to its right

INK, FAINT, WAVE, LOUD = "#22262e", "#c9ced6", "#3b6ea8", "#c0392b"

TICKS_KHZ = (0.2, 0.5, 1, 2, 5, 10, 20)


def picture(path: str | os.PathLike[str], audio: Audio, title: str = "") -> Path:
    """Write the picture of `audio` to `path`.

    Raises:
        StorageError: the file cannot be written; nothing is left behind.
    """
    return storage.write(path, png(audio, title))


def png(audio: Audio, title: str = "") -> bytes:
    """The picture of `audio` as the bytes of a PNG file of 1500 x 800 pixels.

    Only the first two channels are drawn. The frequency axis is the mel scale, on which equal distances are equal
    steps in pitch for a listener.
    """
    # pyplot is avoided: it keeps figures in global state and may need a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Audio(audio.samples[:2], audio.sample_rate)
    channels = drawn.channels
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        channels + 1, 2, height_ratios=[0.8 if channels == 2 else 1.2] * channels + [3.4], width_ratios=[1, 0.012],
        left=0.06, right=0.94, top=0.91, bottom=0.085, hspace=0.12, wspace=0.02,
    )  # fmt: skip
    seconds = max(audio.seconds, 1 / audio.sample_rate)
    for channel in range(channels):
        axes = figure.add_subplot(grid[channel, 0])
        draw_wave(axes, drawn.samples[channel], seconds, "" if channels == 1 else "LR"[channel])
    axes = figure.add_subplot(grid[channels, 0])
    image = _draw_spectrogram(axes, drawn, seconds)
    bar = figure.colorbar(image, cax=figure.add_subplot(grid[channels, 1]))
    bar.set_label("level (dB, loudest = 0)", color=INK, fontsize=9)
    bar.ax.tick_params(labelsize=8, colors=INK, length=3)
    bar.outline.set_visible(False)
    facts = figure.text(0.94, 0.945, _facts(audio), fontsize=9, color=INK, ha="right")
    heading = figure.text(0.06, 0.945, _drawable(title), fontsize=13, color=INK, parse_math=False, weight="bold")
    _shorten(heading, facts.get_window_extent().x0 - TITLE_GAP)
    stream = BytesIO()
    figure.savefig(stream, format="png", pil_kwargs={"compress_level": COMPRESSION})
    return stream.getvalue()


def strip(audio: Audio, columns: int = 600, rows: int = 140) -> bytes:
    """The spectrogram of `audio` without axes, as the bytes of a PNG file of `columns` x `rows` pixels."""
    from matplotlib import image

    levels, _ = _levels(Audio(audio.samples[:2], audio.sample_rate), columns, rows)
    stream = BytesIO()
    if levels.shape[1] < columns:
        levels = levels[:, np.arange(columns) * levels.shape[1] // columns]
    image.imsave(stream, levels, cmap="magma", vmin=-RANGE_DB, vmax=0, origin="lower", format="png")
    return stream.getvalue()


def draw_wave(axes: Axes, samples: FloatArray, seconds: float, name: str) -> None:
    """Draw the envelope of one channel and mark samples at full scale."""
    low, high = _envelope(samples)
    times = (np.arange(len(low)) + 0.5) / max(len(low), 1) * seconds
    axes.fill_between(times, low.clip(-1, 1), high.clip(-1, 1), color=WAVE, linewidth=0.4)
    over = np.maximum(-low, high) >= FULL_SCALE
    axes.plot(times[over], np.ones(over.sum()), "|", color=LOUD, markersize=5, clip_on=False)
    axes.set(xlim=(0, seconds), ylim=(-1.05, 1.05), yticks=[-1, 0, 1])
    axes.set_ylabel(name, rotation=0, color=INK, labelpad=6, va="center")
    axes.axhline(0, color=FAINT, linewidth=0.6, zorder=0)
    style_axes(axes)
    axes.tick_params(bottom=False, labelbottom=False)


def _draw_spectrogram(axes: Axes, audio: Audio, seconds: float) -> Any:
    levels, highest = _levels(audio)
    image = axes.imshow(
        levels, origin="lower", aspect="auto", extent=(0, seconds, 0, 1), cmap="magma", vmin=-RANGE_DB, vmax=0,
        interpolation="bilinear",
    )  # fmt: skip
    ticks = [tick for tick in TICKS_KHZ if tick * 1000 <= highest]
    axes.set_yticks([float(_mel(tick * 1000) / _mel(highest)) for tick in ticks], [f"{tick:g}" for tick in ticks])
    axes.set_ylabel("frequency (kHz)", color=INK)
    axes.set_xlabel("time (s)", color=INK)
    style_axes(axes)
    return image


def style_axes(axes: Axes) -> None:
    """Give axes the look that pictures of songs share."""
    axes.tick_params(labelsize=9, colors=INK, length=3)
    for side in axes.spines.values():
        side.set_visible(False)


def _envelope(samples: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The lowest and highest sample of each column."""
    if len(samples) == 0:
        return np.zeros(1, np.float32), np.zeros(1, np.float32)
    starts = np.unique(np.linspace(0, len(samples), COLUMNS, endpoint=False).astype(int))
    return np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)


def _levels(audio: Audio, columns: int = COLUMNS, rows: int = ROWS) -> tuple[NDArray[np.float64], float]:
    """The spectrogram in dB below its loudest point (mel rows, columns), and its highest frequency in Hz."""
    length = audio.samples.shape[1]
    hop = max(1, min(1024, length // columns))
    fft_size = spectrum.FFT_SIZE if audio.sample_rate > 32_000 else spectrum.FFT_SIZE // 2
    total = length // hop + 1
    count = min(columns, total)
    peaks, frame = np.zeros((count, fft_size // 2 + 1), np.float32), 0
    for block in spectrum.power(audio, fft_size=fft_size, hop=hop, divisor=sample_peak(audio) or 1.0):
        column = (frame + np.arange(len(block))) * count // total
        firsts = np.flatnonzero(np.diff(column, prepend=-1))
        columns_of_block = column[firsts]
        peaks[columns_of_block] = np.maximum(peaks[columns_of_block], np.maximum.reduceat(block, firsts, axis=0))
        frame += len(block)

    frequencies = spectrum.frequencies(audio.sample_rate, fft_size)
    highest = min(20_000.0, audio.sample_rate / 2)
    row_frequencies = _hertz(np.linspace(0, _mel(highest), rows))
    bins = np.interp(row_frequencies, frequencies, np.arange(len(frequencies)))
    below = np.floor(bins).astype(int).clip(0, len(frequencies) - 2)
    fraction = (bins - below).astype(np.float32)
    power = peaks[:, below] * (1 - fraction) + peaks[:, below + 1] * fraction
    loudest = float(power.max())
    levels = 10 * np.log10(np.maximum(power / loudest, 1e-12)) if loudest > 0 else np.full(power.shape, -RANGE_DB)
    return levels.T.astype(np.float64), highest


def _mel(hertz: Any) -> Any:
    return 2595 * np.log10(1 + np.asarray(hertz) / 700)


def _hertz(mel: Any) -> Any:
    return 700 * (10 ** (np.asarray(mel) / 2595) - 1)


def _facts(audio: Audio) -> str:
    seconds = f"{audio.seconds:.1f} s" if audio.seconds >= 1 else f"{audio.seconds * 1000:.1f} ms"
    channels = {1: "mono", 2: "stereo"}.get(audio.channels, f"{audio.channels} channels")
    facts = [seconds, f"{audio.sample_rate / 1000:g} kHz", channels]
    if sample_peak(Audio(audio.samples[:2], audio.sample_rate)) >= np.float32(FULL_SCALE):
        facts.append("red: reaches full scale")
    return ", ".join(facts)


def _drawable(title: str) -> str:
    """`title` on one line, without characters that the font lacks."""
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    letters = "".join(letter if letter.isprintable() else " " for letter in title)
    drawable = " ".join("".join(letter for letter in letters if font.get_char_index(ord(letter))).split())
    return drawable if len(drawable) <= TITLE_LETTERS else drawable[:TITLE_LETTERS] + "..."


def _shorten(text: Text, right: float) -> None:
    """Remove letters from the end of `text` until it ends left of pixel `right`."""
    letters = text.get_text().removesuffix("...")
    while letters and text.get_window_extent().x1 > right:
        letters = letters[:-1].rstrip()
        text.set_text(letters + "...")
