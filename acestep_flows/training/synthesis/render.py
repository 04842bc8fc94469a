"""Render a score into stereo stems: sounds of notes, reverberation, balance and loudness.

All processing of a stem is linear (gains, panning, echoes), so the stems add up to the mix by construction.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from acestep_flows.training.synthesis import drums, words
from acestep_flows.training.synthesis.instruments import INSTRUMENTS, note
from acestep_flows.training.synthesis.piece import Piece
from acestep_flows.training.synthesis.room import level, reverberate, spread
from acestep_flows.training.synthesis.score import STEMS, Note, Score, Stroke
from acestep_flows.training.synthesis.singer import sing
from acestep_flows.training.synthesis.wavetable import RATE, Signal

LOUDNESS = -16.0  # LUFS of every mix, unless its peaks forbid it
PEAK = 0.95
PANS = {"bass": 0.0, "chords": -0.25, "lead": 0.25, "vocal": 0.0}
ROOMS = {
    "drums": 0.25,
    "bass": 0.0,
    "chords": 0.8,
    "lead": 1.0,
    "vocal": 0.7,
}  # share of the reverberation of each stem
SILENT_STEM = -60.0
_DRUM_PANS = {"hat": 0.25, "open hat": 0.25, "ride": -0.35, "shaker": 0.4, "tom": -0.2, "clap": 0.1}


def render(score: Score) -> Piece:
    """Render a score into a piece: its stems, truth with loudness, tags and lyrics."""
    samples = round(score.seconds * RATE)
    stems: dict[str, Signal] = {}
    if score.strokes:
        stems["drums"] = _play_kit(score.strokes, score.kit, samples)
    for role, part in score.notes.items():
        instrument = INSTRUMENTS[score.truth.parts[role]]
        stems[role] = spread(_play(part, instrument.name, samples), PANS[role], instrument.width)
    if score.sung and score.truth.vocal:
        stems["vocal"] = spread(sing(score.sung, samples, score.truth.vocal), 0.0, 0.0)
    for name, stem in stems.items():
        reverberate(stem, score.room * ROOMS[name], score.room)
    stems, loudness = _balance(stems, score)
    truth = replace(score.truth, loudness=loudness)
    return Piece(stems, truth, words.tags(truth, score.seed), score.lyrics)


def _balance(stems: dict[str, Signal], score: Score) -> tuple[dict[str, Signal], float]:
    """Scale each stem to its level in the style, and the mix to LOUDNESS or as near as PEAK allows."""
    order = [name for name in STEMS if name in stems]
    for name in order:
        measured = level(stems[name])
        if measured > SILENT_STEM:
            stems[name] *= np.float32(10 ** ((score.levels[name] - measured) / 20) * 0.1)
    if not order:
        return {"chords": np.zeros((2, round(score.seconds * RATE)), np.float32)}, SILENT_STEM
    mix = np.sum([stems[name] for name in order], axis=0)
    measured = level(mix)
    gain = min(LOUDNESS - measured, 20 * float(np.log10(PEAK / (np.abs(mix).max() + 1e-9))))
    for name in order:
        stems[name] *= np.float32(10 ** (gain / 20))
    return {name: stems[name] for name in order}, measured + gain


def _play(part: tuple[Note, ...], name: str, samples: int) -> Signal:
    """Add an instrument's notes into one mono track."""
    track = np.zeros(samples + RATE, np.float32)
    fade = max(8, int(INSTRUMENTS[name].release * RATE))
    ramp = np.linspace(1.0, 0.0, fade, dtype=np.float32) ** 2
    for played in part:
        sound = note(name, _in_range(name, played.pitch))
        held = int(played.seconds * RATE)
        first = int(played.start * RATE)
        body = sound[: held + fade]
        tail = max(0, len(body) - held)
        _add(track, body[: len(body) - tail], first, played.velocity)
        if tail:
            _add(track, body[len(body) - tail :] * ramp[:tail], first + len(body) - tail, played.velocity)
    return track[:samples]


def _in_range(name: str, pitch: int) -> int:
    instrument = INSTRUMENTS[name]
    while pitch < instrument.low:
        pitch += 12
    while pitch > instrument.high:
        pitch -= 12
    return pitch


def _play_kit(strokes: tuple[Stroke, ...], kit: str, samples: int) -> Signal:
    """Add drum hits into a stereo track, cymbals to the sides."""
    track = np.zeros((2, samples), np.float32)
    for stroke in strokes:
        sound = drums.hit(kit, stroke.voice)
        pan = _DRUM_PANS.get(stroke.voice, 0.0)
        _add(track[0], sound, int(stroke.start * RATE), stroke.velocity * (1.0 - max(pan, 0.0)))
        _add(track[1], sound, int(stroke.start * RATE), stroke.velocity * (1.0 + min(pan, 0.0)))
    return track


def _add(track: Signal, sound: Signal, first: int, gain: float) -> None:
    start, end = max(first, 0), min(first + len(sound), len(track))
    if end > start:
        track[start:end] += np.float32(gain) * sound[start - first : end - first]
