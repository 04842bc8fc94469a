"""Quality gates: conditions on a song's measurements, such as `silence_share<0.5`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acestep_flows.errors import InputError
from acestep_flows.graph.language.wording import clip, nearest, unlike
from acestep_flows.wording.phrases import allowing

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_GATE = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=|==|!=|<|>)\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True)
class Gate:
    """One requirement: the measurement `name` compared with `bound`."""

    name: str
    op: str
    bound: float | str

    def __str__(self) -> str:
        return f"{self.name}{self.op}{self.bound if isinstance(self.bound, str) else format(self.bound, 'g')}"

    def holds(self, measurements: Mapping[str, Any]) -> bool:
        """Whether the measurement is there and meets the bound. A measurement that is None meets no bound."""
        value = measurements.get(self.name)
        if isinstance(self.bound, str):
            return isinstance(value, str) and OPERATORS[self.op](value, self.bound)
        if value is None or isinstance(value, str) or not math.isfinite(value):
            return False
        return OPERATORS[self.op](float(value), self.bound)


def parse_gate(text: str, names: Collection[str] | None = None) -> Gate:
    """The gate that `text` says, as `--require` takes it.

    Args:
        text: a measurement, one of < <= > >= == !=, and a number, or a text (`key==C major`) with == and !=.
        names: the measurements there are; None: those of `measurements.FIELDS`.

    Raises:
        InputError: no such comparison, or no such measurement.
    """
    match = _GATE.fullmatch(text)
    if match is None or not match[3]:
        raise InputError(f"{clip(text)!r} compares nothing", where="--require", allowed='such as "silence_share<0.5"')
    from acestep_flows.bulk.measurements import ALIASES, FIELDS  # reads the audio modules

    known = tuple(FIELDS if names is None else names)
    name, op, words = match[1], match[2], match[3]
    name = name if name in known else ALIASES.get(name, name)
    if name not in known:
        raise _no_measurement(match[1], known)
    try:
        bound: float | str = float(words)
    except ValueError:
        bound = words.strip("'\"")
    if isinstance(bound, float) and not math.isfinite(bound):
        raise InputError(f"{clip(words)!r}", where="--require", allowed="a finite number")
    if isinstance(bound, str) and op not in ("==", "!="):
        raise InputError(f"{clip(words)!r} is not a number", where="--require", allowed=f"a number after {op}")
    return Gate(name, op, bound)


def _no_measurement(name: str, known: Sequence[str]) -> InputError:
    """The error for a measurement that does not exist. A word of one name is near it: `bpm` to `tempo_bpm`."""
    what = unlike("measurement", name, known)
    holders = [one for one in known if name.lower() in one.split("_")]
    if nearest(name, known) is None and len(holders) == 1:
        what = what.replace("; allowed", f", nearest {holders[0]!r}; allowed", 1)
    return allowing(InputError(what, where="--require"), known)


def judge(gates: Iterable[Gate], measurements: Mapping[str, Any]) -> list[str]:
    """The gates that a song does not meet, each with what was measured; empty: the song passes."""
    return [f"{gate} (measured {_show(measurements.get(gate.name))})" for gate in gates if not gate.holds(measurements)]


def _show(measurement: Any) -> str:
    if measurement is None:
        return "nothing"
    return measurement if isinstance(measurement, str) else format(measurement, ".4g")
