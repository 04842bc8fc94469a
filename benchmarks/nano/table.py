"""Scores with their reference values and aims, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np

Estimate = TypeVar("Estimate")
Target = TypeVar("Target")

COLUMNS = ("generated", "shuffled", "real", "real_shuffled", "coded")
HEADINGS = ("metric", "aim", "generated", "shuffled", "real clips", "real, shuffled", "real, coded", "reached")


@dataclass(frozen=True)
class Score:
    """One row of the table.

    Attributes:
        generated: the score of generated clips.
        shuffled: the score of generated clips against the targets of other clips.
        real, real_shuffled: the same two for real clips.
        coded: the score of real clips after autoencoder and decoder.
        aim: (">=" or "<=", bound) for `generated`; None without an aim.
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
        """The score as JSON."""
        return {**asdict(self), "reached": self.reached}


def right_and_shuffled(
    estimates: Sequence[Estimate], targets: Sequence[Target], agree: Callable[[Estimate, Target], float]
) -> tuple[float | None, float | None]:
    """Mean agreement with each clip's own target, and with the targets of other clips (three rotations)."""
    count = len(estimates)
    if count == 0:
        return None, None
    own = float(np.mean([agree(estimate, target) for estimate, target in zip(estimates, targets, strict=True)]))
    if count < 4:
        return own, None
    shifts = sorted({max(1, count // 4), max(1, count // 3), max(1, count // 2)})
    others = [agree(estimates[index], targets[(index + shift) % count]) for shift in shifts for index in range(count)]
    return own, float(np.mean(others))


def markdown(scores: Sequence[Score]) -> str:
    """The scores as a markdown table, with notes below it."""
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
