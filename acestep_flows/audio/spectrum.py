"""Power spectra over time, in blocks, so that memory does not grow with the song."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from acestep_flows.audio.piece import piece
from acestep_flows.values import Audio, FloatArray

FFT_SIZE = 4096
FRAMES_PER_BLOCK = 512


def frequencies(sample_rate: int, fft_size: int = FFT_SIZE) -> FloatArray:
    """The frequencies (bins,) of the bins in Hz."""
    return np.fft.rfftfreq(fft_size, 1 / sample_rate).astype(np.float32)


def power(
    audio: Audio, *, fft_size: int = FFT_SIZE, hop: int = FFT_SIZE // 2, divisor: float = 1.0
) -> Iterator[FloatArray]:
    """Blocks (frames, bins) of the power spectrum: Hann window, frame i centred on sample i * hop.

    The power is averaged over the channels. (In the sum of the channels opposite phases would cancel.) A sine at full
    scale has a peak of 1.

    Args:
        divisor: what samples are divided by: their peak, where they may be so loud or faint that their squares would
            exceed the range of fp32.
    """
    from scipy import fft

    window = np.hanning(fft_size + 1)[:-1].astype(np.float32)
    scale = np.float32(4 / window.sum() ** 2 / audio.channels)
    count = audio.samples.shape[1] // hop + 1
    for start in range(0, count, FRAMES_PER_BLOCK):
        first, last = start * hop - fft_size // 2, (min(start + FRAMES_PER_BLOCK, count) - 1) * hop - fft_size // 2
        heard = piece(audio.samples, first, last + fft_size) / np.float32(divisor)
        total = np.zeros(1, np.float32)
        for channel in sliding_window_view(heard, fft_size, axis=1)[:, ::hop]:
            spectrum = fft.rfft(channel * window)
            total = total + spectrum.real**2 + spectrum.imag**2
        yield total * scale


def average_power(audio: Audio, *, fft_size: int = FFT_SIZE) -> FloatArray:
    """The mean power spectrum (bins,) of the whole song.

    Frames that reach beyond the ends are left out if there are others: a song that starts or stops abruptly has a step
    there, and a step contains every frequency.
    """
    total, count, first, hop = np.zeros(fft_size // 2 + 1), 0, 0, fft_size // 2
    length = audio.samples.shape[1]
    for block in power(audio, fft_size=fft_size, hop=hop):
        middle = (first + np.arange(len(block))) * hop
        whole = (middle >= hop) & (middle + hop <= length) if length >= 2 * hop else np.ones(len(block), bool)
        total += block[whole].sum(axis=0)
        count += int(whole.sum())
        first += len(block)
    return (total / count).astype(np.float32)
