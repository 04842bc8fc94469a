"""A composed piece before it is rendered: notes, drum strokes and sung syllables, with times in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

STEMS = ("drums", "bass", "chords", "lead", "vocal")


@dataclass(frozen=True)
class Truth:
    """The exact properties of a clip. Times are in seconds from the clip's start."""

    style: str
    tempo: int  # beats per minute
    key: int  # 0..11, C = 0
    mode: str  # "major" or "minor"
    instruments: tuple[str, ...]  # audible pitched ones, bass first
    drums: bool
    vocal: str | None  # "male" or "female"
    beats: tuple[float, ...]
    sections: tuple[tuple[str, float, float], ...]  # (name, start, end)
    syllables: tuple[tuple[str, float, float], ...]  # (sounds, start of the vowel, end)
    parts: dict[str, str] = field(default_factory=dict)  # stem -> instrument, kit or voice
    mood: str | None = None
    loudness: float = 0.0  # LUFS of the mix, set by `render`


@dataclass(frozen=True)
class Note:
    """One pitched note; `velocity` 0..1."""

    start: float
    seconds: float
    pitch: int
    velocity: float


@dataclass(frozen=True)
class Stroke:
    """One drum hit."""

    start: float
    voice: str
    velocity: float


@dataclass(frozen=True)
class Sung:
    """One sung syllable (`lexicon.parse`), its vowel beginning at `start`."""

    start: float
    seconds: float
    pitch: int
    sounds: str
    word: str


@dataclass(frozen=True)
class Score:
    """A clip to render. Notes may start before 0, as they still ring in the clip."""

    seed: int
    seconds: float
    truth: Truth
    lyrics: str
    notes: dict[str, tuple[Note, ...]]  # by stem: bass, chords, lead
    strokes: tuple[Stroke, ...]
    sung: tuple[Sung, ...]
    kit: str
    room: float  # 0 dry .. 1 wet
    levels: dict[str, float]  # dB of each stem
