"""Results, and what they are held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

Heard = TypeVar("Heard")
Asked = TypeVar("Asked")

COLUMNS = ("generated", "shuffled", "real", "real_shuffled", "coded")
HEADINGS = ("metric", "aim", "generated", "shuffled", "real clips", "real, shuffled", "real, coded", "reached")


@dataclass(frozen=True)
class Score:
    """One line of the table.

    Attributes:
        generated: on what the model made.
        shuffled: the same against other clips' targets.
        real, real_shuffled: the same two on real clips.
        coded: on real clips after autoencoder and decoder.
        aim: (">=" or "<=", bound) for `generated`; None: only stated.
    """

    metric: str
    generated: float | None
    shuffled: float | None = None
    real: float | None = None
    real_shuffled: float | None = None
    coded: float | None = None
    aim: tuple[str, float] | None = None
    clips: int = 0
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the aim is met; None without an aim."""
        if self.aim is None or self.generated is None:
            return None
        sign, bound = self.aim
        return self.generated >= bound if sign == ">=" else self.generated <= bound

    def entry(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "reached": self.reached}


def right_and_shuffled(
    found: Sequence[Heard], asked: Sequence[Asked], agree: Callable[[Heard, Asked], float]
) -> tuple[float | None, float | None]:
    """Mean agreement with each clip's own target, and with those of other clips (three rotations)."""
    count = len(found)
    if count == 0:
        return None, None
    own = float(np.mean([agree(one, other) for one, other in zip(found, asked, strict=True)]))
    if count < 4:
        return own, None
    shifts = sorted({max(1, count // 4), max(1, count // 3), max(1, count // 2)})
    others = [agree(found[index], asked[(index + shift) % count]) for shift in shifts for index in range(count)]
    return own, float(np.mean(others))


def markdown(scores: Sequence[Score]) -> str:
    """The table, for people."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    for score in scores:
        aim = f"{score.aim[0]} {score.aim[1]:g}" if score.aim else "stated"
        cells = [_number(getattr(score, column)) for column in COLUMNS]
        met = {True: "yes", False: "no", None: ""}[score.reached]
        lines.append("| " + " | ".join([score.metric, aim, *cells, met]) + " |")
    notes = [f"- {score.metric}: {score.note}" for score in scores if score.note]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
