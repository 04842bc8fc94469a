"""Compose a synthetic piece: make the choices that are left open, then write its parts and its truth.

Everything follows from the seed. Every choice has a random stream of its own, so fixing one (a tempo, a style) does not
change the others, unless they depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from acestep_flows.errors import InputError
from acestep_flows.training.synthesis import singer
from acestep_flows.training.synthesis.arrangement import Arrangement, stream
from acestep_flows.training.synthesis.instruments import INSTRUMENTS
from acestep_flows.training.synthesis.parts import write_bass, write_chords, write_drums, write_lead, write_vocal
from acestep_flows.training.synthesis.score import Note, Score, Stroke, Sung, Truth
from acestep_flows.training.synthesis.steady_voice import write_steady_vocal
from acestep_flows.training.synthesis.styles import LEVELS, STYLES, Style
from acestep_flows.training.synthesis.theory import MODES, PROGRESSIONS, TURNAROUNDS

TEMPOS = (60, 180)
ROLES = ("bass", "chords", "lead")

WriteVoice = Callable[[Arrangement, int, float], tuple[list[Sung], list[str]]]


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
    tempo_spread: float = 0.0,
    steady_voice: bool = False,
) -> Score:
    """Compose a clip. A choice that is None is drawn from the seed by the rules of the style.

    Args:
        seconds: length of the clip.
        style: a name of `STYLES`.
        tempo: beats per minute, 60 to 180.
        key: 0..11, with C as 0.
        mode: "major" or "minor".
        instruments: names of `INSTRUMENTS`. Each takes the first free role that it can play. Other roles are silent.
        drums: whether there are drums.
        vocal: "male", "female" or "none".
        aligned: begin on a bar; else begin anywhere in the piece.
        tempo_spread: how much slower and faster than its style's tempos a drawn tempo may be, as a share of these.
        steady_voice: sing one syllable per half beat, from the start of each bar; see `steady_voice`.

    Raises:
        InputError: a name does not exist, or a number is out of range.
    """
    if not seconds > 0:
        raise InputError("a piece needs a length above 0 seconds", where="seconds")
    chosen = _style(seed, style)
    bpm = _tempo(seed, chosen, tempo, tempo_spread)
    key = int(stream(seed, "key").integers(12)) if key is None else key
    mode = _mode(seed, chosen, mode)
    vocal = _vocal(seed, chosen, vocal)
    drums = bool(stream(seed, "drums").random() < chosen.drums) if drums is None else drums

    bar = 240.0 / bpm
    draw = stream(seed, "form")
    start = 0.0 if aligned else float(draw.uniform(0.0, 4 * bar))
    bars = math.ceil((seconds + start) / bar + 1e-9)
    plan = Arrangement(
        seed, chosen, bpm, key % 12, mode, _instruments(seed, chosen, instruments), drums,
        None if vocal == "none" else vocal, _chords(seed, chosen, mode, bars), _sections(draw, bars), start,
    )  # fmt: skip
    return _write(plan, bars, seconds, write_steady_vocal if steady_voice else write_vocal)


def _style(seed: int, name: str | None) -> Style:
    if name is None:
        name = str(stream(seed, "style").choice(tuple(STYLES)))
    if name not in STYLES:
        raise InputError(f"style {name!r}", where="style", allowed=", ".join(STYLES))
    return STYLES[name]


def _tempo(seed: int, style: Style, tempo: int | None, spread: float) -> int:
    if tempo is None:
        slowest = max(TEMPOS[0], round(style.tempos[0] * (1 - spread)))
        fastest = min(TEMPOS[1], round(style.tempos[1] * (1 + spread)))
        return int(stream(seed, "tempo").integers(slowest, fastest + 1))
    if not TEMPOS[0] <= tempo <= TEMPOS[1]:
        raise InputError(f"tempo {tempo}", where="tempo", allowed=f"{TEMPOS[0]}..{TEMPOS[1]} bpm")
    return tempo


def _mode(seed: int, style: Style, mode: str | None) -> str:
    if mode is None:
        return "minor" if stream(seed, "mode").random() < style.minor else "major"
    if mode not in MODES:
        raise InputError(f"mode {mode!r}", where="mode", allowed=", ".join(MODES))
    return mode


def _vocal(seed: int, style: Style, vocal: str | None) -> str:
    if vocal is None:
        draw = stream(seed, "vocal")
        return str(draw.choice(singer.VOICES)) if draw.random() < style.vocal else "none"
    if vocal not in ("none", *singer.VOICES):
        raise InputError(f"vocal {vocal!r}", where="vocal", allowed=", ".join(("none", *singer.VOICES)))
    return vocal


def _instruments(seed: int, style: Style, names: Sequence[str] | None) -> dict[str, str]:
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
    """A section name for each bar. Short clips have one section; longer pieces an intro of 4 bars and parts of 8."""
    if bars <= 8:
        return (str(draw.choice(("verse", "chorus"))),) * bars
    body = [name for _ in range(bars // 16 + 1) for name in ("verse", "chorus") for _ in range(8)]
    form = ["intro"] * 4 + body
    return tuple(form[: bars - 2] + ["outro"] * 2) if bars > 16 else tuple(form[:bars])


def _write(plan: Arrangement, bars: int, seconds: float, write_voice: WriteVoice) -> Score:
    """Write the parts, and drop what does not sound within the clip."""
    sung, lines = write_voice(plan, bars, seconds)
    notes = _write_notes(plan, bars, seconds)
    strokes: list[Stroke] = []
    if plan.drums:
        write_drums(plan, bars, strokes)
    strokes = [stroke for stroke in strokes if -2.0 < stroke.start < seconds]
    levels = {stem: level + plan.style.levels.get(stem, 0.0) for stem, level in LEVELS.items()}
    return Score(
        plan.seed,
        seconds,
        _truth(plan, bars, seconds, tuple(notes), bool(strokes), sung),
        "\n".join(lines),
        notes,
        tuple(strokes),
        tuple(sung),
        plan.style.kit,
        plan.style.room,
        levels,
    )


def _write_notes(plan: Arrangement, bars: int, seconds: float) -> dict[str, tuple[Note, ...]]:
    """The notes of the pitched roles that sound within the clip, with those before it that may still ring."""
    notes: dict[str, list[Note]] = {role: [] for role in plan.parts}
    if "bass" in notes:
        write_bass(plan, bars, notes["bass"])
    if "chords" in notes:
        write_chords(plan, bars, notes["chords"])
    if "lead" in notes:
        write_lead(plan, bars, notes["lead"])
    ringing = {role: tuple(note for note in part if -4.0 < note.start < seconds) for role, part in notes.items()}
    return {role: part for role, part in ringing.items() if any(note.start > -0.05 for note in part)}


def _truth(
    plan: Arrangement, bars: int, seconds: float, roles: Sequence[str], drums: bool, sung: Sequence[Sung]
) -> Truth:
    parts = {role: plan.parts[role] for role in roles}
    if plan.drums:
        parts = {"drums": plan.style.kit, **parts}
    if sung:
        parts["vocal"] = plan.vocal or ""
    return Truth(
        style=plan.style.name, tempo=plan.tempo, key=plan.key, mode=plan.mode, drums=drums,
        instruments=tuple(parts[role] for role in ROLES if role in parts), vocal=plan.vocal if sung else None,
        beats=_beats(plan, bars, seconds), sections=_spans(plan, bars, seconds), parts=parts,
        syllables=tuple((item.sounds, item.start, item.start + item.seconds) for item in sung),
        mood=str(stream(plan.seed, "mood").choice(plan.style.moods)),
    )  # fmt: skip


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
