"""What declarations say about inputs together: a span lies within music, a number is not above another, a song does not
become too long.

Checked when a plan is made, before anything runs, for the user's inputs and for literals that nested graphs are given.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from acestep_flows.errors import InputError
from acestep_flows.graph.language.types import OPEN_END, Declaration
from acestep_flows.graph.language.wording import brief
from acestep_flows.graph.planning.plan import Binding, Fallback, NodeOutput
from acestep_flows.stages.encode_audio import frames_of
from acestep_flows.stages.ports import PortType
from acestep_flows.values import MAX_SECONDS, Audio, Latents, Span, seconds_from_frames

ROUNDING = 1e-3
"""Seconds that a length may be off by where only a rounded one is known."""


@dataclass(frozen=True)
class Length:
    """How long music is.

    Attributes:
        seconds: as the user knows it.
        end: where its last latent frame ends, up to a frame later, or a sample earlier.
    """

    seconds: float
    end: float


def length_of(music: Any) -> Length | None:
    """The length of music; None where it is not known before the run."""
    if isinstance(music, Audio) and hasattr(music, "samples"):
        return Length(music.seconds, seconds_from_frames(frames_of(music)))
    if isinstance(music, Latents) and hasattr(music, "array"):
        return Length(music.seconds, music.seconds)
    seconds = getattr(music, "seconds", None)  # of what stands in for a value
    return Length(seconds, seconds) if isinstance(seconds, (int, float)) else None


def related(
    declared: Mapping[str, Declaration], bound: Mapping[str, Binding], given: Collection[str], where: str = ""
) -> dict[str, Binding]:
    """The bindings of a graph's inputs with their spans ended, once what they say about each other holds.

    Args:
        given: names of the inputs that somebody gave; the others stand at their defaults.
        where: what comes before an input's name in errors.

    Raises:
        InputError: a span reaches past the end of its music, a number is above its limit, or music becomes too long.
    """
    settled = dict(bound)
    for music in dict.fromkeys(one.lengthens for one in declared.values() if one.lengthens):
        _check_total(music, declared, bound, where)
    for name, declaration in declared.items():
        if name not in bound:
            continue
        if declaration.at_most:
            _check_order(declaration, bound, given, where)
        if declaration.within:
            settled[name] = _ended(declaration, bound[name], bound.get(declaration.within), where)
    return settled


def _check_order(declaration: Declaration, bound: Mapping[str, Binding], given: Collection[str], where: str) -> None:
    name, limit = declaration.name, declaration.at_most
    low, high = bound[name], bound.get(limit)
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)) or low <= high:
        return
    defaults = [other for other in (name, limit) if other not in given]
    if defaults == [name]:
        what = f"{brief(high)} is below {name} {brief(low)}, its default; give {name}={brief(high)} or less too"
        raise InputError(what, where=f"{where}{limit}")
    rest = f", its default; give {limit}={brief(low)} or more too" if defaults else ""
    raise InputError(f"{brief(low)} is above {limit} {brief(high)}{rest}", where=f"{where}{name}")


def _check_total(music: str, declared: Mapping[str, Declaration], bound: Mapping[str, Binding], where: str) -> None:
    """Refuse music that would be longer than the model makes, with all seconds that are added to it."""
    length = length_of(bound.get(music))
    if length is None:
        return
    named = {name: bound.get(name) for name, one in declared.items() if one.lengthens == music}
    added = {name: part for name, part in named.items() if isinstance(part, (int, float)) and part > 0}
    total = length.seconds + sum(added.values())
    if not added or total <= MAX_SECONDS + ROUNDING:
        return
    parts = " and ".join(f"{name} {brief(part)} s" for name, part in added.items())
    room = max(0.0, MAX_SECONDS - length.seconds)
    more = f"at most {room:.2f} s more" if room >= seconds_from_frames(1) else f"songs shorter than {MAX_SECONDS:g} s"
    raise InputError(
        f"{music} has {length.seconds:.2f} s, and {parts} would make {total:.2f} s",
        where=f"{where}{max(added, key=lambda name: float(added[name]))}",
        allowed=f"{more}, {MAX_SECONDS:g} s in all; the graph long-form makes longer songs, section by section",
    )


def _ended(declaration: Declaration, spans: Binding, music: Binding, where: str) -> Binding:
    """The spans of an input, with the ends that were left open, and those a little past the end."""
    length = length_of(music)
    is_computed = isinstance(music, (NodeOutput, Fallback))

    def end(span: Any, kind: PortType, path: str) -> Any:
        if not isinstance(span, Span):
            return span
        if length is not None:
            return _fitted(span, length, declaration.within, path)
        if is_computed and span.end == OPEN_END:
            what = f"no end, and how long {declaration.within} is, is known only during the run"
            raise InputError(what, where=path, allowed="start and end in seconds")
        return span

    return declaration.type.map(spans, end, f"{where}{declaration.name}")


def _fitted(span: Span, length: Length, music: str, where: str) -> Span:
    latest = max(length.seconds, length.end) + seconds_from_frames(1)
    until_the_end = span.end == OPEN_END or min(length.seconds, length.end) - 1e-9 <= span.end <= latest + ROUNDING
    if (span.end > latest + ROUNDING and span.end != OPEN_END) or span.start >= length.end:
        end = "the end" if span.end == OPEN_END else f"{span.end:g} s"
        what = f"{span.start:g} to {end}, but {music} is {length.seconds:.2f} s long"
        raise InputError(what, where=where, allowed=f"within 0 to {length.seconds:.2f} s")
    return replace(span, end=length.end) if until_the_end else span
