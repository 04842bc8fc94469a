"""Panning, reverberation and loudness of stems. Panning and reverberation are linear."""

from __future__ import annotations

import numpy as np

from acestep_flows.training.synthesis.wavetable import RATE, Signal

# Delays in samples: mutually prime, so that echoes do not pile up.
_COMBS = ((1687, 1601, 2053, 2251), (1733, 1559, 2011, 2333))
_DIFFUSERS = (389, 127)
_HAAS = 467  # 10.6 ms: a delay of one ear widens a mono sound


def spread(track: Signal, pan: float, width: float) -> Signal:
    """A mono track (samples,) to stereo (2, samples). pan -1 left .. 1 right, width 0..1."""
    stereo = np.empty((2, len(track)), np.float32)
    stereo[0] = track * np.float32(1.0 - 0.6 * max(pan, 0.0))
    stereo[1] = track * np.float32(1.0 + 0.6 * min(pan, 0.0))
    if width:
        late = np.float32(0.5 * width) * track[:-_HAAS]
        stereo[0, _HAAS:] += late
        stereo[1, _HAAS:] -= late  # opposite signs cancel in mono
    return stereo


def reverberate(stem: Signal, wet: float, size: float) -> None:
    """Add a room to a stereo stem (2, samples) in place: four damped combs and two all-passes for each ear."""
    if wet < 0.02:
        return
    seconds = 0.5 + 2.0 * size
    source = stem.mean(axis=0)
    for ear in (0, 1):
        echoes = np.zeros_like(source)
        for delay in _COMBS[ear]:
            echoes += _comb(source, delay, 10 ** (-3 * delay / RATE / seconds))
        for delay in _DIFFUSERS:
            echoes = _diffuse(echoes, delay + 23 * ear)
        stem[ear] += np.float32(0.22 * wet) * echoes


def _comb(sound: Signal, delay: int, feedback: float) -> Signal:
    """y[n] = x[n - delay] + feedback * smooth(y)[n - delay], a block of `delay` samples at a time."""
    blocks = -(-len(sound) // delay)
    rows = np.zeros((blocks + 1, delay), np.float32)
    rows[1:].ravel()[: len(sound)] = sound
    keep = np.float32(feedback * 0.5)
    for block in range(1, blocks):
        before = rows[block]
        echo = before[:-1] + before[1:]
        echo *= keep
        rows[block + 1, 1:] += echo
    return rows[:-1].ravel()[: len(sound)]


def _diffuse(sound: Signal, delay: int, gain: float = 0.6) -> Signal:
    """A short all-pass, cut to two echoes: y = -g x + (1 - g^2) (x[n - d] + g x[n - 2d])."""
    out = np.float32(-gain) * sound
    out[delay:] += np.float32(1 - gain**2) * sound[:-delay]
    out[2 * delay :] += np.float32((1 - gain**2) * gain) * sound[: -2 * delay]
    return out


_WINDOW = 8192


def _weights() -> Signal:
    """Power response of the K weighting of BS.1770 on rfft bins."""
    from scipy.signal import freqz

    omega = 2 * np.pi * np.fft.rfftfreq(_WINDOW)
    # Published for 48 kHz; a shift of 9 % in frequency changes music by less than 0.1 dB.
    shelf = freqz(
        [1.53512485958697, -2.69169618940638, 1.19839281085285], [1.0, -1.69065929318241, 0.73248077421585], omega
    )[1]
    high = freqz([1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621], omega)[1]
    power: Signal = (np.abs(shelf * high) ** 2).astype(np.float32)
    return power


_power: Signal | None = None


def level(stem: Signal, windows: int = 24) -> float:
    """Estimate the loudness in LUFS of a stereo stem (2, samples) from some windows, without the quiet ones."""
    global _power  # noqa: PLW0603  (scipy is not imported before it is needed)
    if _power is None:
        _power = _weights()
    if stem.shape[1] < 2 * _WINDOW:
        stem = np.pad(stem, ((0, 0), (0, 2 * _WINDOW - stem.shape[1])))
    starts = np.linspace(0, stem.shape[1] - _WINDOW, windows).astype(int)
    frames = np.stack([stem[:, start : start + _WINDOW] for start in starts]) * np.hanning(_WINDOW).astype(np.float32)
    spectra = np.abs(np.fft.rfft(frames, axis=-1)) ** 2
    energy = (spectra * _power).sum(axis=(1, 2)) * (2.0 / _WINDOW**2 / 0.375)
    loud = energy > energy.max() * 0.01
    return float(-0.691 + 10 * np.log10(energy[loud].mean() + 1e-12)) if energy.max() > 0 else -120.0
