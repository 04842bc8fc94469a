"""A beat as audio: a pattern of drum strokes, repeated at a tempo.

    track = beat_track(DrumBeat(128.0, PATTERNS["house"]), samples)

A pattern is one bar. Each of its voices is a row of sixteenths, as "x...o...": a stroke, a soft stroke, a rest. A bar
of n beats has 4 n sixteenths, so 5/4 is a pattern of 20.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from acestep_flows.audio.drum_sounds import RATE, VOICES, Signal, drum_sound
from acestep_flows.errors import InputError

TEMPOS = (30.0, 300.0)
"""Lowest and highest tempo in beats per minute."""

STEPS_PER_BEAT = 4
MOST_BEATS = 12
SOFT = 0.5
LEVEL = 0.5
"""Amplitude of a stroke; two or three at a time stay below full scale."""
VOICE_LEVELS = {"kick": 1.0, "snare": 0.7, "hat": 0.4, "click": 0.8}

STYLE_WORDS = {
    "house": "house techno edm dance disco electro trance garage eurodance",
    "rock": "rock punk metal indie grunge alternative",
    "hip hop": "hip hop hip-hop rap trap boombap lofi rnb drill",
    "jazz": "jazz bebop blues bossa swing funk soul",
    "folk": "folk country americana bluegrass celtic songwriter",
    "synthwave": "synthwave retrowave vaporwave synthpop electronic pop outrun",
    "orchestral": "orchestral classical symphonic soundtrack film orchestra score epic",
    "ambient": "ambient drone chill chillout meditation newage soundscape",
}
"""The words of tags that ask for the pattern of a style."""

Pattern = Mapping[str, str]
"""The sixteenths of one bar by voice."""


def _pattern(**rows: str) -> Pattern:
    return MappingProxyType(rows)


PATTERNS: Mapping[str, Pattern] = MappingProxyType(
    {
        "pulse": _pattern(kick="x...x...x...x...", hat="x...x...x...x..."),
        "click": _pattern(click="x...o...o...o..."),
        "house": _pattern(kick="x...x...x...x...", snare="....x.......x...", hat="..x...x...x...x."),
        "rock": _pattern(kick="x.....x.x.......", snare="....x.......x...", hat="x.o.x.o.x.o.x.o."),
        "hip hop": _pattern(kick="x......x..x.....", snare="....x.......x...", hat="x.o.x.o.x.o.x.o."),
        "jazz": _pattern(kick="o.......o.......", hat="x...x..xx...x..x"),
        "folk": _pattern(kick="x.......x.......", hat="x.o.x.o.x.o.x.o."),
        "synthwave": _pattern(kick="x.......x.......", snare="....x.......x...", hat="x.x.x.x.x.x.x.x."),
        "orchestral": _pattern(kick="x.......x.......", hat="o...o...o...o..."),
        "ambient": _pattern(kick="x.......x.......", hat="o...o...o...o..."),
    }
)
"""The patterns with names. `pulse` has kick and hat on each beat, and `click` is a metronome."""


@dataclass(frozen=True)
class DrumBeat:
    """A pattern at a tempo.

    Attributes:
        tempo: beats per minute, 30 to 300.
        pattern: the bar that is repeated.
        swing: how late every second sixteenth is, in sixteenths; 0 to 0.75.
        bars: how many bars sound; None for as many as fit.
        start: seconds of silence before the first bar. A negative start begins within the pattern.

    Raises:
        InputError: a value is out of its range, or the pattern is none.
    """

    tempo: float
    pattern: Pattern = field(default_factory=lambda: PATTERNS["pulse"])
    swing: float = 0.0
    bars: int | None = None
    start: float = 0.0

    def __post_init__(self) -> None:
        if not TEMPOS[0] <= self.tempo <= TEMPOS[1]:
            raise InputError(f"{self.tempo:g} bpm", where="tempo", allowed=f"{TEMPOS[0]:.0f} to {TEMPOS[1]:.0f} bpm")
        if not 0.0 <= self.swing <= 0.75:
            raise InputError(f"swing {self.swing:g}", where="swing", allowed="0 to 0.75 sixteenths")
        if self.bars is not None and self.bars < 1:
            raise InputError(f"{self.bars} bars", where="bars", allowed="1 or more")
        if not math.isfinite(self.start):
            raise InputError(f"start {self.start}", where="start", allowed="seconds")
        check_pattern(self.pattern)

    @property
    def step(self) -> float:
        """Seconds of a sixteenth."""
        return 60.0 / self.tempo / STEPS_PER_BEAT

    def strokes(self, seconds: float) -> Iterator[tuple[float, str, float]]:
        """Time, voice and loudness of each stroke that begins within `seconds` from the start of the track."""
        length = len(next(iter(self.pattern.values())))
        bar_seconds = length * self.step
        first = 0 if self.start >= 0 or self.bars is not None else math.floor(-self.start / bar_seconds)
        last = math.ceil((seconds - self.start) / bar_seconds)
        for bar in range(first, last if self.bars is None else min(last, self.bars)):
            for voice, row in self.pattern.items():
                for step, mark in enumerate(row):
                    time = self.start + (bar * length + step + (self.swing if step % 2 else 0.0)) * self.step
                    if mark != "." and 0.0 <= time < seconds:
                        yield time, voice, 1.0 if mark == "x" else SOFT


DRUM_WORDS = frozenset(
    ["drum", "drums", "drummer", "percussion", "beat", "beats", "kick", "snare", "hats", "cymbals", "breakbeat"]
)
"""The words of tags that ask for drums."""


def asks_for_drums(tags: str) -> bool:
    """Whether `tags` name drums."""
    return not DRUM_WORDS.isdisjoint(re.findall(r"[a-z0-9]+", tags.lower()))


def style_of(tags: str) -> str:
    """The name of the pattern that fits `tags` best: that of the first word of a style, else "pulse"."""
    for word in re.findall(r"[a-z0-9-]+", tags.lower()):
        for style, words in STYLE_WORDS.items():
            if word in words.split():
                return style
    return "pulse"


def read_pattern(text: str) -> Pattern:
    """The pattern called `text`, or written in it: "kick x...x... / hat ..x...x.", a row for each voice.

    Raises:
        InputError: neither a name nor a pattern.
    """
    if text in PATTERNS:
        return PATTERNS[text]
    rows = [row.split() for row in re.split(r"[/\n]", text) if row.strip()]
    if not rows or any(len(row) < 2 for row in rows):
        allowed = f"{', '.join(PATTERNS)}, or rows as in 'kick x...x... / hat ..x...x.'"
        raise InputError(f"pattern {text!r}", where="pattern", allowed=allowed)
    pattern = {row[0].rstrip(":"): "".join(row[1:]) for row in rows}
    check_pattern(pattern)
    return pattern


def check_pattern(pattern: Pattern) -> None:
    """Refuse what is no pattern: an unknown voice or mark, rows of different lengths, or parts of beats.

    Raises:
        InputError: the pattern cannot be played.
    """
    lengths = {len(row) for row in pattern.values()}
    if len(lengths) != 1:
        raise InputError("rows of different lengths" if lengths else "no rows", where="pattern",
                         allowed="one length for all voices, 4 sixteenths a beat")  # fmt: skip
    length = lengths.pop()
    if length % STEPS_PER_BEAT or not 0 < length <= MOST_BEATS * STEPS_PER_BEAT:
        allowed = f"whole beats of {STEPS_PER_BEAT} sixteenths, up to {MOST_BEATS} beats; 20 for 5/4"
        raise InputError(f"a bar of {length} sixteenths", where="pattern", allowed=allowed)
    for voice, row in pattern.items():
        if voice not in VOICES:
            raise InputError(f"voice {voice!r}", where="pattern", allowed=", ".join(VOICES))
        if unknown := set(row) - set("xo."):
            raise InputError(f"mark {min(unknown)!r}", where="pattern", allowed="x (stroke), o (soft), . (rest)")
    if all(set(row) == {"."} for row in pattern.values()):
        raise InputError("no stroke", where="pattern", allowed="at least one x or o")


def beat_track(beat: DrumBeat, samples: int) -> Signal:
    """The beat as a mono track (samples,) at 44.1 kHz."""
    track = np.zeros(samples, np.float32)
    for time, voice, loudness in beat.strokes(samples / RATE):
        first = round(time * RATE)
        sound = drum_sound(voice)[: max(0, samples - first)]
        track[first : first + len(sound)] += np.float32(LEVEL * VOICE_LEVELS[voice] * loudness) * sound
    return track
