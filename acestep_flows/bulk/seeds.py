"""Seeds of rows: a seed that nobody chose follows from the job's seed and the row's id, so it is the same on resume.
In a graph with an input `seed`, this is so of that one, and the others follow from it as they do in a single run.

A retake is the same song with another seed, which follows from the first one and is far from those of other rows. The
seed that is changed is the last one of the graph with the default `random` (`retake_seed` where there is one), or the
last of all if the graph requires every seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from acestep_flows.graph.language.declare import innermost
from acestep_flows.graph.language.types import RANDOM, Declaration, Draw
from acestep_flows.graph.planning.seeds import SeedDrawer
from acestep_flows.values import MAX_SEED


def drawer(seed: int, id: str, retake: int = 0) -> Draw:
    """Draws the random seeds of a row, for `lay_out`: its own, or those of its `retake`-th retake."""

    def draw(where: str) -> int:
        digest = hashlib.sha256(f"{seed}\0{id}\0{where}".encode("utf-8", "surrogatepass")).digest()
        return following(int.from_bytes(digest[:4], "big"), retake)

    return draw


def settle(inputs: dict[str, Any], declared: Mapping[str, Declaration], draw: Draw) -> None:
    """Put the seed where an input is random, by its own value or by default: drawn, or following from `seed`."""
    seed_of = SeedDrawer(declared, inputs, draw)
    for name, declaration in declared.items():
        if declaration.type.kind == "seed" and inputs.get(name, declaration.default) == RANDOM:
            inputs[name] = seed_of(name)


def take_input(declared: Mapping[str, Declaration]) -> str | None:
    """The seed input that a retake changes; None: the graph has no seed."""
    seeds = [name for name, declaration in declared.items() if innermost(declaration.type).kind == "seed"]
    free = [name for name in seeds if declared[name].default == RANDOM]
    return next(reversed(free or seeds), None)


def retaken(inputs: Mapping[str, Any], declared: Mapping[str, Declaration], retake: int) -> dict[str, Any]:
    """The inputs of the `retake`-th retake of a row: its seed changed, and every seed of a list."""
    changed = dict(inputs)
    name = take_input(declared)
    if name is None or not retake:
        return changed
    value = inputs.get(name, declared[name].default)
    if isinstance(value, (list, tuple)):
        changed[name] = [_retaken(seed, retake) for seed in value]
    else:
        changed[name] = _retaken(value, retake)
    return changed


def following(seed: int, retake: int) -> int:
    """The seed of a retake; of retake 0 the seed itself.

    It is a hash, because rows often have seeds in sequence: the next number would be the song of another row.
    """
    if not retake:
        return seed
    digest = hashlib.sha256(f"{seed}\0retake {retake}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & MAX_SEED


def _retaken(seed: Any, retake: int) -> Any:
    """`random` stays: the drawer changes it."""
    return following(int(seed), retake) if isinstance(seed, (int, float)) else seed
