"""Seeds of one run: one seed fixes everything, and what follows from it is written down with the inputs."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from acestep_flows.errors import InputError
from acestep_flows.graph.language.types import RANDOM, Declaration, Draw, literal
from acestep_flows.stages.ports import PortType
from acestep_flows.values import MAX_SEED

SEED = "seed"
"""The input of type seed from which the other seeds of a graph follow."""


def random_seed(where: str) -> int:
    """A random seed, not from a seeded generator, so that two runs never share one by accident."""
    return secrets.randbelow(MAX_SEED + 1)


def derived_seed(seed: int, where: str) -> int:
    """The seed at `where` in a run with `seed`. It is the same on every machine and never `seed` itself."""
    digest = hashlib.sha256(f"{seed}\0{where}".encode("utf-8", "surrogatepass")).digest()
    found = int.from_bytes(digest[:4], "big")
    return found if found != seed else (found + 1) % (MAX_SEED + 1)


class SeedDrawer:
    """Gives the seed where `random` stands: in a graph with an input `seed` all others follow from it.

    Args:
        declared: the inputs of the graph.
        inputs: what the user gives.
        draw: draws the seeds that follow from no other.
    """

    def __init__(self, declared: Mapping[str, Declaration], inputs: Mapping[str, Any], draw: Draw) -> None:
        self._draw = draw
        self._seed = _own_seed(declared, inputs, draw)

    def __call__(self, where: str) -> int:
        if self._seed is None:
            return self._draw(where)
        return self._seed if where == SEED else derived_seed(self._seed, where)


def _own_seed(declared: Mapping[str, Declaration], inputs: Mapping[str, Any], draw: Draw) -> int | None:
    """The graph's `seed`; None where it has none, or one that cannot be used and is refused with the other inputs."""
    declaration = declared.get(SEED)
    if declaration is None or declaration.type.kind != "seed":
        return None
    seed = inputs.get(SEED, declaration.default)
    if isinstance(seed, str) and seed == RANDOM:
        return draw(SEED)
    try:
        return int(literal(PortType("seed"), seed, SEED))
    except InputError:
        return None


class SeedRecorder:
    """Records the seeds of nested graphs, which no input of the outer graph holds.

    They are in the plan's inputs under their path (`takes[2].seed`); given back, they are used again.
    """

    def __init__(self, declared: Mapping[str, Declaration], inputs: Mapping[str, Any], draw: Draw) -> None:
        self.below: dict[str, Any] = {}
        self._draw, self._declared = SeedDrawer(declared, inputs, draw), declared
        self._pinned = {name: value for name, value in inputs.items() if "." in name}

    def __call__(self, where: str) -> int:
        seed = self._draw(where)
        if where.partition(".")[0].partition("[")[0] in self._declared:
            return seed
        if where in self._pinned:
            seed = literal(PortType("seed"), self._pinned.pop(where), where)
        self.below[where] = seed
        return seed

    def refuse_unused(self) -> None:
        """Refuse seeds that were given for places that the plan does not have.

        Raises:
            InputError: there are such.
        """
        for name in self._pinned:
            raise InputError("no such input", where=name, allowed=[*self._declared, *self.below])
