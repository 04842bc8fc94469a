"""Keys, scales, chords and progressions.

Pitches are MIDI numbers (60 = middle C, 69 = A at 440 Hz). Pitch classes 0..11 start at C. All notes are in the scale,
so that the key of a piece can be measured reliably.
"""

from __future__ import annotations

from collections.abc import Sequence

KEYS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
MODES = tuple(SCALES)

# Scale degrees (0 = tonic), one chord a bar. Each begins on the tonic.
PROGRESSIONS = {
    "major": ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 4, 3), (0, 3, 0, 4), (0, 2, 3, 4)),
    "minor": ((0, 5, 2, 6), (0, 6, 5, 6), (0, 3, 5, 6), (0, 5, 6, 0), (0, 3, 0, 6)),
}
TURNAROUNDS = {"major": ((0, 5, 1, 4), (0, 3, 1, 4)), "minor": ((0, 5, 3, 4), (0, 3, 6, 4))}


def key_name(key: int, mode: str) -> str:
    """The usual name of a key: `A minor`, `C# major`."""
    return f"{KEYS[key % 12]} {mode}"


def frequency(pitch: float) -> float:
    """Hz of a MIDI pitch."""
    return float(440.0 * 2.0 ** ((pitch - 69.0) / 12.0))


def scale_pitch(key: int, mode: str, step: int, base: int = 60) -> int:
    """The pitch `step` scale steps above the tonic that lies in the octave from `base` (a C)."""
    octave, degree = divmod(step, 7)
    return base + key + 12 * octave + SCALES[mode][degree]


def scale_classes(key: int, mode: str) -> frozenset[int]:
    """The seven pitch classes of a key."""
    return frozenset((key + interval) % 12 for interval in SCALES[mode])


def chord_classes(key: int, mode: str, degree: int, size: int = 3) -> tuple[int, ...]:
    """Pitch classes of the chord on a degree: thirds stacked in the scale (3 = triad, 4 = seventh)."""
    return tuple(scale_pitch(key, mode, degree + 2 * third, 0) % 12 for third in range(size))


def voicing(classes: Sequence[int], centre: float) -> tuple[int, ...]:
    """Each pitch class at its octave nearest to `centre`, low to high: neighbouring chords move little."""
    return tuple(sorted(nearest(pitch_class, centre) for pitch_class in classes))


def nearest(pitch_class: int, centre: float) -> int:
    """The pitch of a class that lies nearest to `centre`."""
    return pitch_class + 12 * round((centre - pitch_class) / 12)


def fold(pitch: int, low: int, high: int) -> int:
    """Move a pitch by octaves into [low, high] (at least an octave wide)."""
    while pitch < low:
        pitch += 12
    while pitch > high:
        pitch -= 12
    return pitch
