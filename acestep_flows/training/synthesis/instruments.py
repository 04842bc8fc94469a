"""Twenty pitched instruments. Each note is computed once and cached.

A note is a mono signal of its natural length. `render` cuts it to the written duration and fades it for `release`
seconds. Instruments are rows of harmonic amplitudes over time (`wavetable.oscillate`), so a new one takes a few lines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from acestep_flows.training.synthesis.theory import frequency
from acestep_flows.training.synthesis.wavetable import (
    RATE,
    Signal,
    curve,
    harmonic_count,
    oscillate,
    shaped_noise,
    without_rumble,
)

HOP = 1024  # samples between two rows of a note's spectrum


@dataclass(frozen=True)
class Instrument:
    """An instrument: its roles, range, note length and sound."""

    name: str
    roles: tuple[str, ...]  # of "bass", "chords", "lead"
    low: int  # MIDI pitches
    high: int
    seconds: float  # length of a stored note
    release: float  # seconds of fading after the written end
    tone: Callable[[float, int], Signal]
    width: float = 0.0  # 0 = mono, 1 = wide


def struck(bright: float, decay: float, even: float = 1.0, limit: int = 60) -> Callable[[float, int], Signal]:
    """A struck or plucked string: high partials are weaker and decay faster. `decay` is in seconds at middle C."""

    def tone(hertz: float, samples: int) -> Signal:
        order = np.arange(1, harmonic_count(hertz, limit) + 1)
        level = order ** (-1.0 / bright) * np.where(order % 2 == 0, even, 1.0)
        time = np.arange(samples // HOP + 2)[:, None] * HOP / RATE
        life = decay * (261.6 / hertz) ** 0.5 / (1.0 + 0.25 * (order - 1))
        rows = level * np.exp(-time / life)
        return oscillate(hertz, rows.astype(np.float32), samples, HOP) * attack(0.003, samples)

    return tone


def held(
    level: Callable[[np.ndarray, np.ndarray], np.ndarray],
    rise: float,
    vibrato: float = 0.0,
    voices: tuple[float, ...] = (0.0,),
    breath: float = 0.0,
) -> Callable[[float, int], Signal]:
    """A blown, bowed or synthetic tone with constant level.

    `level(order, hertz of each harmonic)` gives amplitudes; `rise` seconds of attack in which high partials come later;
    `vibrato` in cents; `voices` are detunings in cents, summed; `breath` is the share of noise.
    """

    def tone(hertz: float, samples: int) -> Signal:
        order = np.arange(1, harmonic_count(hertz) + 1)
        time = np.arange(samples // HOP + 2)[:, None] * HOP / RATE
        opening = 1.0 - np.exp(-time / (rise * (0.4 + 0.12 * order)))
        rows = (level(order, order * hertz) * opening).astype(np.float32)
        swing = curve([(0.15, 0.0), (0.5, vibrato)], samples) * np.sin(np.arange(samples) * (2 * np.pi * 5.3 / RATE))
        total = np.zeros(samples, np.float32)
        for index, cents in enumerate(voices):
            bent = (hertz * 2.0 ** ((swing + cents) / 1200.0)).astype(np.float32)
            pitch = bent if vibrato else hertz * 2.0 ** (cents / 1200.0)
            total += np.roll(oscillate(pitch, rows, samples, HOP), 97 * index)  # voices must not start in phase
        total *= attack(rise, samples)
        if breath:
            air = shaped_noise(samples, max(hertz, 400.0), 7000.0, 5, -6.0)
            total += breath * float(np.sqrt(np.mean(total**2))) * air * attack(rise * 0.5, samples)
        return total

    return tone


def partials(
    ratios: tuple[float, ...], levels: tuple[float, ...], decays: tuple[float, ...], tremolo: float = 0.0
) -> Callable[[float, int], Signal]:
    """A bar or bell: a few sine waves that are not harmonics of each other."""

    def tone(hertz: float, samples: int) -> Signal:
        time = np.arange(samples, dtype=np.float32) / RATE
        total = np.zeros(samples, np.float32)
        for ratio, level, decay in zip(ratios, levels, decays, strict=True):
            if hertz * ratio < 15000:
                total += level * np.exp(-time / decay) * np.sin(2 * np.pi * hertz * ratio * time, dtype=np.float32)
        if tremolo:
            total *= 1.0 - tremolo * 0.5 * (1.0 + np.sin(2 * np.pi * 5.0 * time, dtype=np.float32))
        return total * attack(0.002, samples)

    return tone


def distorted(hertz: float, samples: int) -> Signal:
    """An overdriven guitar playing root, fifth and octave: strings first, then the amplifier bends their sum."""
    string = struck(1.3, 6.0)
    chord = string(hertz, samples) + 0.9 * string(hertz * 1.4983, samples) + 0.7 * string(hertz * 2.0, samples)
    bent = np.tanh(9.0 * chord / (np.abs(chord[: RATE // 4]).max() + 1e-9))
    return lowpass(bent, 4500.0)


def overdriven(hertz: float, samples: int) -> Signal:
    """The same amplifier, one string: a singing lead."""
    string = struck(1.2, 8.0)(hertz, samples)
    return lowpass(np.tanh(14.0 * string / (np.abs(string[: RATE // 4]).max() + 1e-9)), 5200.0)


def synth_bass(hertz: float, samples: int) -> Signal:
    """A saw wave whose filter closes after the attack."""
    order = np.arange(1, harmonic_count(hertz, 80) + 1)
    time = np.arange(samples // HOP + 2)[:, None] * HOP / RATE
    cut = 250.0 + 2600.0 * np.exp(-time / 0.12)
    rows = (1.0 / order) / (1.0 + (order * hertz / cut) ** 4) ** 0.5
    return oscillate(hertz, rows.astype(np.float32), samples, HOP) * attack(0.004, samples)


def synth_pluck(hertz: float, samples: int) -> Signal:
    """Two detuned saw waves, a quick filter, a quick end."""
    order = np.arange(1, harmonic_count(hertz, 80) + 1)
    time = np.arange(samples // HOP + 2)[:, None] * HOP / RATE
    cut = 500.0 + 7000.0 * np.exp(-time / 0.07)
    rows = ((1.0 / order) / (1.0 + (order * hertz / cut) ** 4) ** 0.5 * np.exp(-time / 0.35)).astype(np.float32)
    pair = oscillate(hertz * 1.003, rows, samples, HOP) + np.roll(oscillate(hertz * 0.997, rows, samples, HOP), 131)
    return pair * attack(0.003, samples)


def electric_piano(hertz: float, samples: int) -> Signal:
    """A tine: a round fundamental and a short bell on top."""
    body = partials((1.0, 2.0, 3.0, 4.0), (1.0, 0.28, 0.1, 0.05), (1.6, 0.9, 0.5, 0.35), tremolo=0.25)(hertz, samples)
    bell = partials((7.0, 14.0), (0.22, 0.07), (0.16, 0.06))(hertz, samples)
    return body + bell


def attack(seconds: float, samples: int) -> Signal:
    """A gain ramp (samples,) from 0 to 1 in `seconds`: a quarter of a sine."""
    rise = max(2, int(seconds * RATE))
    ramp = np.ones(samples, np.float32)
    count = min(rise, samples)
    ramp[:count] = np.sin(0.5 * np.pi * np.arange(count, dtype=np.float32) / rise)
    return ramp


def lowpass(sound: Signal, cut: float) -> Signal:
    """A low-pass filter like a loudspeaker's, by FFT (notes are computed once)."""
    spectrum = np.fft.rfft(sound)
    hertz = np.fft.rfftfreq(len(sound), 1 / RATE)
    filtered: Signal = np.fft.irfft(spectrum / (1.0 + (hertz / cut) ** 4), len(sound)).astype(np.float32)
    return filtered


def _organ(order: np.ndarray, hertz: np.ndarray) -> np.ndarray:
    """Drawbars."""
    drawn: np.ndarray = np.isin(order, (1, 2, 3, 4, 6, 8)) * np.where(order > 3, 0.8, 1.0) * order**-0.35
    return drawn


def _resonant(*peaks: tuple[float, float, float]) -> Callable[[np.ndarray], np.ndarray]:
    """Body resonances: (Hz, width in Hz, gain)."""

    def gain(hertz: np.ndarray) -> np.ndarray:
        total = np.full(hertz.shape, 0.25)
        for centre, width, height in peaks:
            total = total + height / (1.0 + ((hertz - centre) / width) ** 2)
        return total

    return gain


_VIOLIN_BODY = _resonant((480.0, 160.0, 1.0), (1050.0, 300.0, 0.8), (2700.0, 700.0, 1.0))
_HORN_BODY = _resonant((1200.0, 500.0, 1.2), (2400.0, 700.0, 0.8))
_REED_BODY = _resonant((620.0, 200.0, 1.2), (1500.0, 350.0, 0.9), (3000.0, 600.0, 0.4))


def _saw(order: np.ndarray, hertz: np.ndarray, cut: float, steep: float = 2.0) -> np.ndarray:
    closed: np.ndarray = (1.0 / order) / (1.0 + (hertz / cut) ** (2 * steep)) ** 0.5
    return closed


_SAW_LEAD = held(lambda n, f: _saw(n, f, 3800.0), 0.02, 12.0, (0.0, 9.0))
_PAD = held(lambda n, f: _saw(n, f, 1100.0, 1.5), 0.35, 0.0, (-8.0, 0.0, 9.0))
_STRINGS = held(lambda n, f: _saw(n, f, 4200.0, 1.0) * _VIOLIN_BODY(f), 0.12, 14.0, (-6.0, 0.0, 7.0))
_VIOLIN = held(lambda n, f: _saw(n, f, 5200.0) * _VIOLIN_BODY(f), 0.07, 22.0, breath=0.03)
_FLUTE = held(lambda n, f: np.exp(-1.15 * (n - 1)), 0.06, 16.0, breath=0.12)
_TRUMPET = held(lambda n, f: n**-0.3 / (1.0 + (f / 3600.0) ** 4) * _HORN_BODY(f), 0.045, 12.0)
_SAXOPHONE = held(lambda n, f: n**-0.7 / (1.0 + (f / 4000.0) ** 2) * _REED_BODY(f), 0.04, 18.0, breath=0.06)
_VIBRAPHONE = partials((1.0, 3.984, 9.9), (1.0, 0.22, 0.06), (1.5, 0.5, 0.15), tremolo=0.5)
_MUSIC_BOX = partials((1.0, 2.76, 5.4, 8.9), (1.0, 0.5, 0.25, 0.1), (1.3, 0.7, 0.3, 0.15))

INSTRUMENTS: dict[str, Instrument] = {
    item.name: item
    for item in (
        Instrument("piano", ("chords", "lead"), 40, 92, 2.6, 0.12, struck(0.62, 1.1)),
        Instrument("electric piano", ("chords", "lead"), 40, 88, 2.4, 0.10, electric_piano, 0.4),
        Instrument("organ", ("chords", "lead"), 43, 86, 4.2, 0.05, held(_organ, 0.012, 6.0), 0.3),
        Instrument("acoustic guitar", ("chords", "lead"), 40, 84, 2.0, 0.08, struck(1.05, 0.75, even=0.7)),
        Instrument("electric guitar", ("chords",), 36, 64, 3.0, 0.04, distorted, 0.8),
        Instrument("guitar solo", ("lead",), 52, 88, 3.0, 0.06, overdriven),
        Instrument("bass guitar", ("bass",), 26, 55, 2.2, 0.06, struck(0.55, 0.9)),
        Instrument("double bass", ("bass",), 26, 55, 1.4, 0.08, struck(0.42, 0.5, even=1.3)),
        Instrument("synth bass", ("bass",), 24, 55, 2.4, 0.03, synth_bass),
        Instrument("sub bass", ("bass",), 24, 48, 3.0, 0.05, held(lambda n, f: n**-2.6, 0.01)),
        Instrument("synth lead", ("lead",), 52, 90, 3.0, 0.06, _SAW_LEAD, 0.3),
        Instrument("synth pluck", ("chords", "lead"), 45, 90, 1.4, 0.06, synth_pluck, 0.6),
        Instrument("synth pad", ("chords",), 40, 84, 4.6, 0.4, _PAD, 1.0),
        Instrument("strings", ("chords", "lead"), 40, 92, 4.4, 0.2, _STRINGS, 0.9),
        Instrument("violin", ("lead",), 55, 96, 3.2, 0.09, _VIOLIN),
        Instrument("flute", ("lead",), 60, 96, 3.0, 0.07, _FLUTE),
        Instrument("trumpet", ("lead",), 53, 88, 3.0, 0.06, _TRUMPET),
        Instrument("saxophone", ("lead",), 48, 82, 3.0, 0.06, _SAXOPHONE),
        Instrument("vibraphone", ("chords", "lead"), 52, 92, 2.6, 0.35, _VIBRAPHONE, 0.4),
        Instrument("music box", ("lead",), 64, 100, 2.4, 0.4, _MUSIC_BOX, 0.4),
    )
}


@lru_cache(maxsize=1024)
def note(name: str, pitch: int) -> Signal:
    """A note of an instrument, (samples,) fp32 at 44.1 kHz with rms 0.1 over its first 0.3 s. Cached and read-only."""
    instrument = INSTRUMENTS[name]
    samples = int(instrument.seconds * RATE)
    sound = without_rumble(instrument.tone(frequency(pitch), samples).astype(np.float32))
    sound *= 0.1 / (np.sqrt(np.mean(sound[: int(0.3 * RATE)] ** 2)) + 1e-9)
    sound[-2048:] *= np.linspace(1.0, 0.0, 2048, dtype=np.float32)
    sound.setflags(write=False)
    return sound
