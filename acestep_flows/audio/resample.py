"""Conversion of a waveform to another sample rate or channel count.

Resampling convolves with a windowed sinc. On the way into the model that is `MODEL_FILTER`, the filter of the published
model's training data; it leaves images above the old Nyquist frequency. `LISTENING_FILTER` leaves none, and serves
everything that is listened to or measured. Output sample `k + n * m` is the dot product of phase `k`'s kernel with the
input around sample `o * m`. Each phase touches only a few taps of the dense kernel, so phases are computed in small
groups, one matrix product per group: cost and memory stay low for any pair of rates, coprime ones included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from acestep_flows.audio.piece import Parts, piece
from acestep_flows.errors import InputError
from acestep_flows.values import Audio, FloatArray


@dataclass(frozen=True)
class Lowpass:
    """A windowed sinc.

    Attributes:
        width: zero crossings on either side.
        rolloff: the -6 dB point, as a share of the lower of the two Nyquist frequencies.
        beta: of the Kaiser window; None: a Hann window.
    """

    width: int
    rolloff: float
    beta: float | None


MODEL_FILTER = Lowpass(6, 0.99, None)
"""The filter of upstream's encoder (spec 04 section 2)."""

LISTENING_FILTER = Lowpass(64, 0.965, 9.0)
"""Flat to 92 % of the Nyquist frequency, and 90 dB down from 1 % above it: 20.3 and 22.3 kHz at 44.1 kHz."""

PHASES_PER_GROUP = 64
ROWS_PER_PRODUCT = 4096


def resample(samples: FloatArray, from_rate: int, to_rate: int, lowpass: Lowpass = MODEL_FILTER) -> FloatArray:
    """Resample `samples` (channels, n) from `from_rate` to `to_rate` Hz, in fp32.

    Returns:
        (channels, ceil(n * to_rate / from_rate)).

    Raises:
        InputError: `samples` has no channel axis, or a rate is below 1.
    """
    if samples.ndim != 2:
        raise InputError(f"shape {samples.shape}", where="samples", allowed="channels x samples")
    _check_rates(from_rate, to_rate)
    samples = samples.astype(np.float32, copy=False)
    if from_rate == to_rate:
        return samples
    return _resampled(partial(piece, samples), samples.shape, from_rate, to_rate, lowpass)


def resample_parts(
    parts: Iterable[FloatArray], shape: tuple[int, int], from_rate: int, to_rate: int, lowpass: Lowpass = MODEL_FILTER
) -> FloatArray:
    """`resample` of samples that come in consecutive parts (channels, any), which are dropped as soon as they are read.

    Args:
        parts: fp32.
        shape: of all of them together.

    Raises:
        InputError: a rate is below 1.
    """
    _check_rates(from_rate, to_rate)
    if from_rate == to_rate:
        return np.concatenate([np.zeros((shape[0], 0), np.float32), *parts], axis=1)
    return _resampled(Parts(parts, shape[1]).piece, shape, from_rate, to_rate, lowpass)


def _check_rates(from_rate: int, to_rate: int) -> None:
    if min(from_rate, to_rate) < 1:
        raise InputError(f"{from_rate} to {to_rate} Hz", where="sample_rate", allowed="whole numbers from 1")


def _resampled(
    read: Callable[[int, int], FloatArray], shape: tuple[int, int], from_rate: int, to_rate: int, lowpass: Lowpass
) -> FloatArray:
    """Resample samples (channels, n) of this shape, which `read` gives from one to another, zeros outside of them."""
    channels, length = shape
    if channels * length == 0:
        return np.zeros((channels, 0), np.float32)
    divisor = math.gcd(from_rate, to_rate)
    old, new = from_rate // divisor, to_rate // divisor
    new_length = -(-new * length // old)
    # A product contains several cycles of phases if a cycle is short, so that no product is small.
    cycles = -(-PHASES_PER_GROUP // new)
    phases, stride = new * cycles, old * cycles
    rows = -(-new_length // phases)

    reach = _reach(old, new, lowpass)
    out = np.empty((channels, new_length), np.float32)
    for row in range(0, rows, ROWS_PER_PRODUCT):
        count = min(ROWS_PER_PRODUCT, rows - row)
        heard = read(row * stride - reach, (row + count + 1) * stride + reach)
        made = np.empty((channels, count, phases), np.float32)
        for first in range(0, phases, PHASES_PER_GROUP):
            start, kernel = _kernel(old, new, first, min(first + PHASES_PER_GROUP, phases), lowpass)
            windows = sliding_window_view(heard[:, start:], len(kernel), axis=1)[:, ::stride]
            # Windows overlap in memory; BLAS takes them only as a copy.
            made[:, :, first : first + PHASES_PER_GROUP] = np.ascontiguousarray(windows[:, :count]) @ kernel
        begin, end = row * phases, min((row + count) * phases, new_length)
        out[:, begin:end] = made.reshape(channels, -1)[:, : end - begin]
    return out


def at_rate(audio: Audio, sample_rate: int) -> Audio:
    """`audio` at `sample_rate` Hz, for listening and measuring; the same object if it has that rate."""
    if audio.sample_rate == sample_rate:
        return audio
    return Audio(resample(audio.samples, audio.sample_rate, sample_rate, LISTENING_FILTER), sample_rate)


def stereo(audio: Audio) -> Audio:
    """`audio` with two channels: mono is doubled, and of more than two the first two are kept (spec 04 section 1)."""
    if audio.channels == 2:
        return audio
    samples = np.repeat(audio.samples, 2, axis=0) if audio.channels == 1 else audio.samples[:2]
    return Audio(samples, audio.sample_rate)


def mono(audio: Audio) -> Audio:
    """`audio` with one channel, the mean of all."""
    if audio.channels == 1:
        return audio
    return Audio(audio.samples.mean(axis=0, keepdims=True, dtype=np.float32), audio.sample_rate)


def _cutoff(old: int, new: int, lowpass: Lowpass) -> float:
    return min(old, new) * lowpass.rolloff


def _reach(old: int, new: int, lowpass: Lowpass) -> int:
    """Input samples on either side that the kernel covers."""
    return math.ceil(lowpass.width * old / _cutoff(old, new, lowpass))


@lru_cache(maxsize=32)
def _kernel(old: int, new: int, first: int, end: int, lowpass: Lowpass) -> tuple[int, FloatArray]:
    """The kernels of output samples `first` to `end`, as their start in the padded signal and (taps, samples).

    Taps that are zero for all of these samples are left out.
    """
    cutoff, reach = _cutoff(old, new, lowpass), _reach(old, new, lowpass)
    cycle, phase = np.divmod(np.arange(first, end), new)
    taps = np.arange(old * first // new - reach, old * (end - 1) // new + reach + 2)
    # Only the phase is rounded to fp32, as in the reference.
    shift = (-phase.astype(np.float32) / np.float32(new)).astype(np.float64)
    u = (shift + (taps[:, None] - old * cycle) / old) * cutoff
    u = np.clip(u, -lowpass.width, lowpass.width)
    return int(taps[0]) + reach, (_window(u, lowpass) * np.sinc(u) * (cutoff / old)).astype(np.float32)


def _window(u: NDArray[np.float64], lowpass: Lowpass) -> NDArray[np.float64]:
    """The window at `u` zero crossings from its middle; 0 at the filter's width and beyond."""
    if lowpass.beta is None:
        window: NDArray[np.float64] = np.cos(u * (np.pi / lowpass.width / 2)) ** 2
        return window
    inside = np.sqrt(1 - (u / lowpass.width) ** 2)
    kaiser: NDArray[np.float64] = np.where(inside > 0, np.i0(lowpass.beta * inside) / np.i0(lowpass.beta), 0.0)
    return kaiser
