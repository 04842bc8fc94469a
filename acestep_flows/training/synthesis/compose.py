"""Write a piece: choose what is not given, then lay notes, strokes and syllables on the bars.

Everything follows from the seed; every choice has a random stream of its own, so fixing one (a tempo, a style) leaves
the others as they would have been where they do not depend on it.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from acestep_flows.errors import InputError
from acestep_flows.training.synthesis import lexicon, singer
from acestep_flows.training.synthesis.instruments import INSTRUMENTS
from acestep_flows.training.synthesis.melody import STEPS, Tune, onsets
from acestep_flows.training.synthesis.score import Note, Score, Stroke, Sung, Truth
from acestep_flows.training.synthesis.styles import LEVELS, STYLES, Comping, Style
from acestep_flows.training.synthesis.theory import (
    MODES,
    PROGRESSIONS,
    TURNAROUNDS,
    chord_classes,
    fold,
    nearest,
    voicing,
)

TEMPOS = (60, 180)
ROLES = ("bass", "chords", "lead")


def stream(seed: int, purpose: str) -> np.random.Generator:
    """The random numbers of one purpose."""
    return np.random.default_rng([seed & 0xFFFFFFFFFFFFFFFF, zlib.crc32(purpose.encode())])


@dataclass(frozen=True)
class Arrangement:
    """The choices of a piece, and the grid they lie on."""

    seed: int
    style: Style
    tempo: int
    key: int
    mode: str
    parts: dict[str, str]  # role -> instrument
    drums: bool
    vocal: str | None
    chords: tuple[int, ...]  # a scale degree for each bar
    sections: tuple[str, ...]  # a name for each bar
    start: float  # seconds of the piece before the clip

    @property
    def step(self) -> float:
        """Seconds in a sixteenth."""
        return 15.0 / self.tempo

    def at(self, bar: int, step: float) -> float:
        """Seconds from the clip's start; off-beat sixteenths swing."""
        late = self.style.swing if int(step) % 2 and self.style.swing else 0.0
        return (bar * STEPS + step + late) * self.step - self.start


def compose(
    seed: int,
    *,
    seconds: float = 8.9,
    style: str | None = None,
    tempo: int | None = None,
    key: int | None = None,
    mode: str | None = None,
    instruments: Sequence[str] | None = None,
    drums: bool | None = None,
    vocal: str | None = None,
    aligned: bool = True,
) -> Score:
    """Write a clip of `seconds`; what is not given is drawn from the seed as the style has it.

    key: 0..11 (C = 0). instruments: names of `INSTRUMENTS`, each takes the first free role it can play; roles left over
    are silent.
    vocal: "male", "female" or "none". aligned: begin on a bar; else anywhere in the piece.
    Raises InputError for names and numbers that do not exist.
    """
    if not seconds > 0:
        raise InputError("a piece needs a length above 0 seconds", where="seconds")
    chosen = _style(seed, style)
    if tempo is None:
        tempo = int(stream(seed, "tempo").integers(chosen.tempos[0], chosen.tempos[1] + 1))
    elif not TEMPOS[0] <= tempo <= TEMPOS[1]:
        raise InputError(f"tempo {tempo}", where="tempo", allowed=f"{TEMPOS[0]}..{TEMPOS[1]} bpm")
    if key is None:
        key = int(stream(seed, "key").integers(12))
    if mode is None:
        mode = "minor" if stream(seed, "mode").random() < chosen.minor else "major"
    elif mode not in MODES:
        raise InputError(f"mode {mode!r}", where="mode", allowed=", ".join(MODES))
    if vocal not in (None, "none", *singer.VOICES):
        raise InputError(f"vocal {vocal!r}", where="vocal", allowed=", ".join(("none", *singer.VOICES)))
    if vocal is None:
        draw = stream(seed, "vocal")
        vocal = str(draw.choice(singer.VOICES)) if draw.random() < chosen.vocal else "none"
    if drums is None:
        drums = bool(stream(seed, "drums").random() < chosen.drums)

    bar = 240.0 / tempo
    draw = stream(seed, "form")
    start = 0.0 if aligned else float(draw.uniform(0.0, 4 * bar))
    bars = math.ceil((seconds + start) / bar + 1e-9)
    plan = Arrangement(
        seed, chosen, tempo, key % 12, mode, _parts(seed, chosen, instruments), drums,
        None if vocal == "none" else vocal, _chords(seed, chosen, mode, bars), _sections(draw, bars), start,
    )  # fmt: skip
    return _write(plan, bars, seconds)


def _style(seed: int, name: str | None) -> Style:
    if name is None:
        name = str(stream(seed, "style").choice(tuple(STYLES)))
    if name not in STYLES:
        raise InputError(f"style {name!r}", where="style", allowed=", ".join(STYLES))
    return STYLES[name]


def _parts(seed: int, style: Style, names: Sequence[str] | None) -> dict[str, str]:
    draw = stream(seed, "instruments")
    if names is None:
        return {role: str(draw.choice(style.instruments[role])) for role in ROLES}
    parts: dict[str, str] = {}
    for name in names:
        if name not in INSTRUMENTS:
            raise InputError(f"instrument {name!r}", where="instruments", allowed=", ".join(INSTRUMENTS))
        free = [role for role in INSTRUMENTS[name].roles if role not in parts]
        if not free:
            raise InputError(f"no part left for {name!r}", where="instruments")
        parts[free[0]] = name
    return {role: parts[role] for role in ROLES if role in parts}


def _chords(seed: int, style: Style, mode: str, bars: int) -> tuple[int, ...]:
    draw = stream(seed, "harmony")
    pool = TURNAROUNDS[mode] if draw.random() < style.turnaround else PROGRESSIONS[mode]
    verse, chorus = (pool[int(index)] for index in draw.choice(len(pool), 2))
    return tuple((chorus if bar // 8 % 2 else verse)[bar % 4] for bar in range(bars))


def _sections(draw: np.random.Generator, bars: int) -> tuple[str, ...]:
    """Short clips are of one kind; longer pieces have a form, four bars to the intro and eight to each part."""
    if bars <= 8:
        return (str(draw.choice(("verse", "chorus"))),) * bars
    body = [name for _ in range(bars // 16 + 1) for name in ("verse", "chorus") for _ in range(8)]
    form = ["intro"] * 4 + body
    return tuple(form[: bars - 2] + ["outro"] * 2) if bars > 16 else tuple(form[:bars])


def _write(plan: Arrangement, bars: int, seconds: float) -> Score:
    sung, lines = _sing(plan, bars, seconds)
    notes: dict[str, list[Note]] = {role: [] for role in plan.parts}
    strokes: list[Stroke] = []
    if "bass" in notes:
        _play_bass(plan, bars, notes["bass"])
    if "chords" in notes:
        _play_chords(plan, bars, notes["chords"])
    if "lead" in notes:
        _play_lead(plan, bars, notes["lead"])
    if plan.drums:
        _play_drums(plan, bars, strokes)
    heard = {role: tuple(note for note in part if -4.0 < note.start < seconds) for role, part in notes.items()}
    heard = {role: part for role, part in heard.items() if any(note.start > -0.05 for note in part)}
    strokes = [stroke for stroke in strokes if -2.0 < stroke.start < seconds]
    parts = {role: plan.parts[role] for role in heard}
    if plan.drums:
        parts = {"drums": plan.style.kit, **parts}
    if sung:
        parts["vocal"] = plan.vocal or ""
    truth = Truth(
        style=plan.style.name, tempo=plan.tempo, key=plan.key, mode=plan.mode, drums=bool(strokes),
        instruments=tuple(parts[role] for role in ROLES if role in parts), vocal=plan.vocal if sung else None,
        beats=_beats(plan, bars, seconds), sections=_spans(plan, bars, seconds), parts=parts,
        syllables=tuple((item.sounds, item.start, item.start + item.seconds) for item in sung),
        mood=str(stream(plan.seed, "mood").choice(plan.style.moods)),
    )  # fmt: skip
    levels = {stem: level + plan.style.levels.get(stem, 0.0) for stem, level in LEVELS.items()}
    return Score(
        plan.seed,
        seconds,
        truth,
        "\n".join(lines),
        heard,
        tuple(strokes),
        tuple(sung),
        plan.style.kit,
        plan.style.room,
        levels,
    )


def _beats(plan: Arrangement, bars: int, seconds: float) -> tuple[float, ...]:
    times = (beat * 4 * plan.step - plan.start for beat in range(bars * 4))
    return tuple(round(time, 6) for time in times if -1e-9 <= time < seconds)


def _spans(plan: Arrangement, bars: int, seconds: float) -> tuple[tuple[str, float, float], ...]:
    spans: list[tuple[str, float, float]] = []
    for bar, name in enumerate(plan.sections):
        start, end = max(0.0, plan.at(bar, 0)), min(seconds, plan.at(bar + 1, 0))
        if end <= start:
            continue
        if spans and spans[-1][0] == name:
            spans[-1] = (name, spans[-1][1], end)
        else:
            spans.append((name, start, end))
    return tuple(spans)


def _touch(random: np.random.Generator, loud: float) -> float:
    return float(np.clip(loud * random.normal(1.0, 0.06), 0.1, 1.2))


def _play_bass(plan: Arrangement, bars: int, out: list[Note]) -> None:
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


def _play_chords(plan: Arrangement, bars: int, out: list[Note]) -> None:
    draw = stream(plan.seed, "chords")
    comping = plan.style.comping[int(draw.integers(len(plan.style.comping)))]
    instrument = INSTRUMENTS[plan.parts["chords"]]
    centre = float(np.clip(62 + draw.integers(-3, 4), instrument.low + 7, instrument.high - 7))
    for bar, degree in enumerate(plan.chords):
        if instrument.name == "electric guitar":  # sounds root and fifth by itself
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
        if comping.kind == "strum":  # the lowest string again, an octave down
            pitches = (pitches[0], *pitches[1:], pitches[0] + 12) if len(pitches) == 3 else pitches
        for string, pitch in enumerate(pitches):
            delay = 0.012 * string if comping.kind == "strum" else 0.0
            out.append(Note(start + delay, max(length * plan.step * 0.95 - delay, 0.05), pitch, loud))


def _play_lead(plan: Arrangement, bars: int, out: list[Note]) -> None:
    draw = stream(plan.seed, "lead")
    instrument = INSTRUMENTS[plan.parts["lead"]]
    low = max(instrument.low, 60)
    tune = Tune(draw, plan.key, plan.mode, low, min(low + 17, instrument.high))
    first, second = (plan.style.leads[int(index)] for index in draw.choice(len(plan.style.leads), 2))
    for bar, degree in enumerate(plan.chords):
        if plan.sections[bar] == "outro" or (plan.vocal and plan.sections[bar] != "intro"):
            continue  # a singer has the tune
        rhythm = onsets(second if bar % 2 else first)
        pitches = tune.bar(bar, degree, [step for step, _ in rhythm])
        for (step, length), pitch in zip(rhythm, pitches, strict=True):
            out.append(
                Note(plan.at(bar, step), length * plan.step * 0.95, pitch, _touch(draw, 0.9 if step % 4 else 1.0))
            )


def _play_drums(plan: Arrangement, bars: int, out: list[Stroke]) -> None:
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


_SUNG_STEPS = (0, 4, 8, 12, 16, 20, 24, 6, 14, 22, 2, 18)
"""Where syllables go in a line of two bars, the likeliest places first; the end is for breathing."""


def _sing(plan: Arrangement, bars: int, seconds: float) -> tuple[list[Sung], list[str]]:
    """Sung syllables, and the lyrics with a section marker before each part."""
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
        placed = [
            item
            for item in _line(plan, bar, words, chord, tune, draw)
            if item.start > -0.3 and item.start + 0.15 < seconds
        ]
        if not placed:
            continue
        if name != section:
            lines += ([""] if lines else []) + [f"[{name}]"]
            section = name
        heard: list[str] = []
        for item in placed:
            if item.word:
                heard.append(item.word)
        if heard:
            lines.append(" ".join(heard))
        sung += placed
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
