"""What people ask for: kinds of runs with their shares, each laid out by the product's planner."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from acestep_flows.errors import InputError
from acestep_flows.graph.library import Library
from acestep_flows.graph.planning.layout import plan
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.stages.registry import stages
from acestep_flows.values import Latents, frames_from_seconds

STEPS = {"sample", "repaint", "edit"}
"""Stages that take steps."""

GUIDED = 0.5
"""Share of the steps in which guidance needs a second row, as the model's default interval has it."""


@dataclass(frozen=True)
class Kind:
    """One kind of run.

    Attributes:
        share: of all runs, relative to the others.
        graph: a shipped graph.
        seconds: of music.
        steps: of diffusion.
        inputs: of the graph beside `duration`, `steps` and the source.
        source: the input that takes the song to change; None: the run makes a new one.
    """

    share: float
    graph: str
    seconds: float
    steps: int = 27
    inputs: Mapping[str, Any] | None = None
    source: str | None = None

    @cached_property
    def plan(self) -> Plan:
        """Its nodes, as the product lays them out.

        Raises:
            InputError: an input is not usable.
            NotFound: there is no such graph.
        """
        import numpy as np

        library = Library(working=None)
        inputs: dict[str, Any] = {"seed": 1, "steps": self.steps, **(self.inputs or {})}
        if self.source is None:
            inputs.setdefault("duration", self.seconds)
        else:
            inputs[self.source] = Latents(np.zeros((8, 16, frames_from_seconds(self.seconds)), np.float32))
        return plan(library.load(self.graph), inputs, registry=stages(), find=library.nested)

    @property
    def rows(self) -> float:
        """Rows of a step, on average. An edit moves two songs at once."""
        edits = any(node.stage == "edit" for node in self.plan.nodes.values())
        return (1 + GUIDED) * (2 if edits else 1)


SPAN = {"span": [8, 16], "tags": "pop", "lyrics": "[verse]\nla"}
DEFAULT = (
    Kind(0.35, "text2music", 60, inputs={"tags": "pop"}),
    Kind(0.15, "text2music", 240, inputs={"tags": "pop"}),
    Kind(0.10, "text2music", 240, steps=60, inputs={"tags": "pop"}),
    Kind(0.15, "retake", 120, inputs={"tags": "pop"}),
    Kind(0.15, "repaint", 120, inputs=SPAN, source="source"),
    Kind(0.05, "extend", 120, inputs={"tags": "pop", "right": 30}, source="source"),
    Kind(0.05, "edit-lyrics", 60, inputs={"tags": "pop", "lyrics": "la", "new_lyrics": "lo"}, source="source"),
)
"""Songs and edits, half and half. Nobody has measured this mix: give your own with `--mix`."""


def read(path: Path) -> tuple[Kind, ...]:
    """A mix from a JSON list of kinds, with the attributes of `Kind`.

    Raises:
        InputError: the file has no such list.
    """
    try:
        kinds = tuple(Kind(**entry) for entry in json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"no list of kinds of runs ({error})", where=str(path), allowed=ALLOWED) from None
    if not kinds or any(kind.share < 0 for kind in kinds) or not sum(kind.share for kind in kinds):
        raise InputError("no shares above zero", where=str(path), allowed=ALLOWED)
    return kinds


ALLOWED = '[{"share": 1, "graph": "text2music", "seconds": 60, "steps": 27, "inputs": {"tags": "pop"}}, ...]'


def draw(mix: Sequence[Kind], generator: random.Random) -> Kind:
    """One run of the mix."""
    (kind,) = generator.choices(mix, [kind.share for kind in mix])
    return kind
