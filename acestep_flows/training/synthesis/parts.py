"""Write the parts of a piece: the notes, strokes and syllables of bass, chords, lead, drums and vocal, bar by bar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acestep_flows.training.synthesis import lexicon, singer
from acestep_flows.training.synthesis.arrangement import Arrangement, stream
from acestep_flows.training.synthesis.instruments import INSTRUMENTS
from acestep_flows.training.synthesis.melody import Tune, onsets
from acestep_flows.training.synthesis.score import Note, Stroke, Sung
from acestep_flows.training.synthesis.styles import Comping
from acestep_flows.training.synthesis.theory import chord_classes, fold, nearest, voicing

_SUNG_STEPS = (0, 4, 8, 12, 16, 20, 24, 6, 14, 22, 2, 18)
"""Steps of syllables in a line of two bars, the likeliest first. The last steps are a rest for breathing."""


def write_bass(plan: Arrangement, bars: int, out: list[Note]) -> None:
    draw = stream(plan.seed, "bass")
    pattern = str(draw.choice(plan.style.bass_lines))
    instrument = INSTRUMENTS[plan.parts["bass"]]
    low = max(instrument.low, 28)
    for bar, degree in enumerate(plan.chords):
        root, third, fifth = chord_classes(plan.key, plan.mode, degree)
        base = fold(nearest(root, low + 6), low, low + 12)
        heights = {"R": base, "3": base + (third - root) % 12, "5": base + (fifth - root) % 12, "8": base + 12}
        for step, length in onsets(pattern):
            seconds = length * plan.step * 0.92
            out.append(
                Note(plan.at(bar, step), seconds, min(heights[pattern[step]], instrument.high), _touch(draw, 0.9))
            )


def write_chords(plan: Arrangement, bars: int, out: list[Note]) -> None:
    draw = stream(plan.seed, "chords")
    comping = plan.style.comping[int(draw.integers(len(plan.style.comping)))]
    instrument = INSTRUMENTS[plan.parts["chords"]]
    centre = float(np.clip(62 + draw.integers(-3, 4), instrument.low + 7, instrument.high - 7))
    for bar, degree in enumerate(plan.chords):
        if instrument.name == "electric guitar":  # its sound already has root and fifth
            root = chord_classes(plan.key, plan.mode, degree)[0]
            pitches: tuple[int, ...] = (nearest(root, 46),)
        else:
            pitches = voicing(chord_classes(plan.key, plan.mode, degree, plan.style.chord_size), centre)
        sparse = plan.sections[bar] == "outro"
        _comp(plan, Comping("block", "x---------------") if sparse else comping, bar, pitches, draw, out)


def _comp(
    plan: Arrangement, comping: Comping, bar: int, pitches: Sequence[int], draw: np.random.Generator, out: list[Note]
) -> None:
    for index, (step, length) in enumerate(onsets(comping.pattern)):
        start, loud = plan.at(bar, step), _touch(draw, 1.0 if step % 8 == 0 else 0.8)
        if comping.kind == "arpeggio":
            rising = (*pitches, pitches[0] + 12)
            order = (*rising, *reversed(rising[1:-1]))
            out.append(Note(start, plan.step * 3, order[index % len(order)], loud))
            continue
        if comping.kind == "strum":  # doubles the lowest note an octave higher
            pitches = (pitches[0], *pitches[1:], pitches[0] + 12) if len(pitches) == 3 else pitches
        for string, pitch in enumerate(pitches):
            delay = 0.012 * string if comping.kind == "strum" else 0.0
            out.append(Note(start + delay, max(length * plan.step * 0.95 - delay, 0.05), pitch, loud))


def write_lead(plan: Arrangement, bars: int, out: list[Note]) -> None:
    draw = stream(plan.seed, "lead")
    instrument = INSTRUMENTS[plan.parts["lead"]]
    low = max(instrument.low, 60)
    tune = Tune(draw, plan.key, plan.mode, low, min(low + 17, instrument.high))
    first, second = (plan.style.leads[int(index)] for index in draw.choice(len(plan.style.leads), 2))
    for bar, degree in enumerate(plan.chords):
        if plan.sections[bar] == "outro" or (plan.vocal and plan.sections[bar] != "intro"):
            continue  # the singer has the melody
        rhythm = onsets(second if bar % 2 else first)
        pitches = tune.bar(bar, degree, [step for step, _ in rhythm])
        for (step, length), pitch in zip(rhythm, pitches, strict=True):
            out.append(
                Note(plan.at(bar, step), length * plan.step * 0.95, pitch, _touch(draw, 0.9 if step % 4 else 1.0))
            )


def write_drums(plan: Arrangement, bars: int, out: list[Stroke]) -> None:
    draw = stream(plan.seed, "groove")
    groove = plan.style.grooves[int(draw.integers(len(plan.style.grooves)))]
    fill = str(draw.choice(("............x.xx", "..........x.xxxx", "............xxxx")))
    for bar in range(bars):
        if plan.sections[bar] == "outro" and bar == bars - 1:
            continue
        filling = bar % 4 == 3 and ("snare" in groove or "clap" in groove)
        for voice, pattern in groove.items():
            if plan.sections[bar] == "intro" and voice in ("kick", "clap"):
                continue
            for step, mark in enumerate(pattern):
                if mark in "xo" and not (filling and voice == "snare" and step >= 10):
                    out.append(Stroke(plan.at(bar, step), voice, _touch(draw, 1.0 if mark == "x" else 0.55)))
        if filling:
            out += [
                Stroke(plan.at(bar, step), "snare", _touch(draw, 0.4 + 0.04 * step))
                for step, mark in enumerate(fill)
                if mark == "x"
            ]
        if bar % 8 == 0 and plan.style.kit != "brushes" and bar:
            out.append(Stroke(plan.at(bar, 0), "crash", 0.8))


def _touch(random: np.random.Generator, loud: float) -> float:
    return float(np.clip(loud * random.normal(1.0, 0.06), 0.1, 1.2))


def write_vocal(plan: Arrangement, bars: int, seconds: float) -> tuple[list[Sung], list[str]]:
    """Write the sung syllables, and the lines of the lyrics with a marker before each section."""
    if not plan.vocal:
        return [], []
    draw = stream(plan.seed, "lyrics")
    tune = Tune(stream(plan.seed, "voice"), plan.key, plan.mode, *singer.RANGES[plan.vocal])
    most = int(np.clip(24 * plan.step * 3.2, 4, 9))  # about three syllables a second at most
    sung: list[Sung] = []
    lines: list[str] = []
    section = ""
    for bar in range(0, bars, 2):
        name = plan.sections[bar]
        if name not in ("verse", "chorus"):
            continue
        words = lexicon.line(draw, min(5, most), most)
        chord = plan.chords[bar], plan.chords[min(bar + 1, bars - 1)]
        audible = [
            item
            for item in _line(plan, bar, words, chord, tune, draw)
            if item.start > -0.3 and item.start + 0.15 < seconds
        ]
        if not audible:
            continue
        if name != section:
            lines += ([""] if lines else []) + [f"[{name}]"]
            section = name
        audible_words = [item.word for item in audible if item.word]
        if audible_words:
            lines.append(" ".join(audible_words))
        sung += audible
    return sung, lines


def _line(
    plan: Arrangement, bar: int, words: Sequence[str], chords: tuple[int, int], tune: Tune, draw: np.random.Generator
) -> list[Sung]:
    codes = [(code, word if index == 0 else "") for word in words for index, code in enumerate(lexicon.WORDS[word])]
    count = len(codes)
    extra = int(draw.integers(0, 2)) if count < len(_SUNG_STEPS) else 0
    picked = list(_SUNG_STEPS[: count + extra])
    for _ in range(extra):
        picked.pop(int(draw.integers(1, len(picked))))
    steps = sorted(picked)
    pitches = [
        pitch
        for half in (0, 1)
        for pitch in tune.bar(
            bar // 2 * 2 + half, chords[half], [step - 16 * half for step in steps if step // 16 == half]
        )
    ]
    ends = [*steps[1:], min(steps[-1] + 5, 30)]
    return [
        Sung(plan.at(bar, step), (end - step) * plan.step * 0.92, pitch, code, word)
        for step, end, pitch, (code, word) in zip(steps, ends, pitches, codes, strict=True)
    ]
