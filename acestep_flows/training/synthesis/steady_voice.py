"""A voice in even time: one syllable per half beat (per beat above 140 bpm), and a line per bar (or two).

So the place of a syllable in its line is its place in the bar, which a small model can learn from a few thousand songs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acestep_flows.training.synthesis import lexicon, singer
from acestep_flows.training.synthesis.arrangement import Arrangement, stream
from acestep_flows.training.synthesis.melody import STEPS, Tune
from acestep_flows.training.synthesis.score import Sung

FASTEST_HALVES = 140
"""Highest tempo at which a syllable takes half a beat: they last 0.21 s there."""
SYLLABLES = 7
"""Most syllables of a line. The last of its eight places is for breath."""


def write_steady_vocal(plan: Arrangement, bars: int, seconds: float) -> tuple[list[Sung], list[str]]:
    """Write the sung syllables, and the lines of the lyrics with a marker before each section."""
    if not plan.vocal:
        return [], []
    draw = stream(plan.seed, "lyrics")
    tune = Tune(stream(plan.seed, "voice"), plan.key, plan.mode, *singer.RANGES[plan.vocal])
    bars_per_line = 1 if plan.tempo <= FASTEST_HALVES else 2
    sung: list[Sung] = []
    lines: list[str] = []
    section = ""
    for bar in range(0, bars, bars_per_line):
        name = plan.sections[bar]
        if name not in ("verse", "chorus"):
            continue
        words = lexicon.line(draw, 3, SYLLABLES)
        line = _line(plan, bar, words, tune, 2 * bars_per_line)
        audible = [item for item in line if item.start > -0.3 and item.start + 0.15 < seconds]
        if not any(item.word for item in audible):
            continue
        if name != section:
            lines += ([""] if lines else []) + [f"[{name}]"]
            section = name
        lines.append(" ".join(item.word for item in audible if item.word))
        sung += audible
    return sung, lines


def _line(plan: Arrangement, bar: int, words: Sequence[str], tune: Tune, spacing: int) -> list[Sung]:
    """The syllables of `words`, `spacing` sixteenths apart, the first of them on the bar."""
    codes = [(code, word if index == 0 else "") for word in words for index, code in enumerate(lexicon.WORDS[word])]
    steps = np.arange(len(codes)) * spacing
    pitches: list[int] = []
    for number in range(steps[-1] // STEPS + 1):
        within = [int(step) - STEPS * number for step in steps if step // STEPS == number]
        chord = plan.chords[min(bar + number, len(plan.chords) - 1)]
        pitches += tune.bar(bar + number, chord, within)
    return [
        Sung(plan.at(bar, int(step)), spacing * plan.step * 0.92, pitch, code, word)
        for step, pitch, (code, word) in zip(steps, pitches, codes, strict=True)
    ]
