"""A wavetable oscillator for all pitched sounds: it reads single periods at a changing pitch and spectrum.

A row of harmonic amplitudes becomes one period by an inverse FFT. Reading it costs the same for any number of
harmonics. Numpy only, fp32, 44.1 kHz (the rate of the model's mel).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Signal: TypeAlias = NDArray[np.float32]

RATE = 44100
TABLE = 512  # samples in a period: enough for ~100 harmonics read linearly


def harmonic_count(frequency: float, limit: int = 100) -> int:
    """Harmonics of `frequency` that stay below 16 kHz."""
    return max(1, min(limit, int(16000.0 / frequency)))


def oscillate(pitch: Signal | float, spectra: Signal, samples: int, hop: int) -> Signal:
    """Synthesise `samples` samples of a changing spectrum at a changing pitch.

    Args:
        pitch: Hz, one number or one per sample (samples,).
        spectra: (frames, harmonics) amplitudes. Frames are `hop` samples apart and interpolated; the last one is held.

    Returns (samples,).
    """
    frames, harmonics = spectra.shape
    bins = np.zeros((frames, TABLE // 2 + 1), np.complex64)
    # Schroeder phases keep the peak low and sound the same.
    order = np.arange(harmonics)
    bins[:, 1 : harmonics + 1] = spectra * np.exp(1j * np.pi * order * (order + 1) / harmonics - 0.5j * np.pi)
    tables = np.empty((frames + 1, TABLE + 1), np.float32)
    tables[:frames, :TABLE] = np.fft.irfft(bins, TABLE, axis=1) * (TABLE / 2)
    tables[frames] = tables[frames - 1]
    tables[:, TABLE] = tables[:, 0]

    time = np.arange(samples)
    if isinstance(pitch, np.ndarray):
        cycles = np.cumsum(pitch[:samples], dtype=np.float64) * (1.0 / RATE)
    else:
        cycles = time * np.float64(pitch / RATE)
    position = ((cycles - np.floor(cycles)) * TABLE).astype(np.float32)
    column = position.astype(np.int32)
    column_share = position - column
    frame = np.minimum(time // hop, frames - 1).astype(np.int32)
    blend = np.minimum(time / hop - frame, 1.0).astype(np.float32)

    flat = tables.ravel()
    index = frame * (TABLE + 1) + column
    sound: Signal = flat[index]
    sound += column_share * (flat[index + 1] - sound)
    index += TABLE + 1
    next_sound = flat[index]
    next_sound += column_share * (flat[index + 1] - next_sound)
    sound += blend * (next_sound - sound)
    return sound


def curve(points: list[tuple[float, float]], samples: int) -> Signal:
    """Interpolate (seconds, value) points linearly, one value per sample (samples,). The end values are held."""
    seconds, values = zip(*points, strict=True)
    line: Signal = np.interp(np.arange(samples) / RATE, seconds, values).astype(np.float32)
    return line


def shaped_noise(samples: int, low: float, high: float, seed: int, slope: float = 0.0) -> Signal:
    """Noise (samples,) between two frequencies in Hz, with rms 1. `slope` is in dB per octave above `low`."""
    noise = np.random.default_rng([seed, samples]).standard_normal(samples).astype(np.float32)
    spectrum = np.fft.rfft(noise)
    hertz = np.fft.rfftfreq(samples, 1 / RATE) + 1.0
    gain = 1.0 / (1.0 + (low / hertz) ** 6) / (1.0 + (hertz / high) ** 6) * (hertz / low) ** (slope / 6.02)
    sound: Signal = np.fft.irfft(spectrum * np.sqrt(gain), samples).astype(np.float32)
    sound /= np.float32(np.sqrt(np.mean(sound**2)) + 1e-9)
    return sound


def without_rumble(sound: Signal, cut: float = 22.0) -> Signal:
    """Remove inaudibly low frequencies and the DC offset."""
    spectrum = np.fft.rfft(sound)
    hertz = np.fft.rfftfreq(len(sound), 1 / RATE)
    clean: Signal = np.fft.irfft(spectrum * hertz**4 / (hertz**4 + cut**4), len(sound)).astype(np.float32)
    return clean
