"""What a piece is before it sounds: notes, strokes and sung syllables on a timeline in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

STEMS = ("drums", "bass", "chords", "lead", "vocal")


@dataclass(frozen=True)
class Truth:
    """What is known of a clip because it was made so. Times in seconds from the clip's start."""

    style: str
    tempo: int  # beats per minute
    key: int  # 0..11, C = 0
    mode: str  # "major" or "minor"
    instruments: tuple[str, ...]  # pitched ones that sound, bass first
    drums: bool
    vocal: str | None  # "male" or "female"
    beats: tuple[float, ...]
    sections: tuple[tuple[str, float, float], ...]  # (name, start, end)
    syllables: tuple[tuple[str, float, float], ...]  # (sounds, start of the vowel, end)
    parts: dict[str, str] = field(default_factory=dict)  # stem -> instrument, kit or voice
    mood: str | None = None
    loudness: float = 0.0  # LUFS of the mix; known once rendered


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
    """A clip to render. Times may begin before 0: what began before the clip still rings in it."""

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
