"""Seeds of rows: where nobody chose one it follows from the job's seed and the row's id, also on resume.

A retake is the same song with the next seed: of the graph's seeds, the last one that may be random says which take it
is (`retake_seed` where there is one); a graph that asks for every seed is retaken by its last one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from acestep_flows.graph.language.declare import innermost
from acestep_flows.graph.language.types import RANDOM, Declaration, Draw
from acestep_flows.values import MAX_SEED


def drawer(seed: int, id: str, retake: int = 0) -> Draw:
    """What draws the random seeds of a row, for `lay_out`: its own, or those of its `retake`-th retake."""

    def draw(where: str) -> int:
        digest = hashlib.sha256(f"{seed}\0{id}\0{where}".encode("utf-8", "surrogatepass")).digest()
        return following(int.from_bytes(digest[:4], "big"), retake)

    return draw


def settle(inputs: dict[str, Any], declared: Mapping[str, Declaration], draw: Draw) -> None:
    """Put the drawn seed where an input is random, by its own value or by default."""
    for name, declaration in declared.items():
        if declaration.type.kind == "seed" and inputs.get(name, declaration.default) == RANDOM:
            inputs[name] = draw(name)


def take_input(declared: Mapping[str, Declaration]) -> str | None:
    """The input that says which take it is; None: the graph has no seed."""
    seeds = [name for name, declaration in declared.items() if innermost(declaration.type).kind == "seed"]
    free = [name for name in seeds if declared[name].default == RANDOM]
    return next(reversed(free or seeds), None)


def retaken(inputs: Mapping[str, Any], declared: Mapping[str, Declaration], retake: int) -> dict[str, Any]:
    """The inputs of the `retake`-th retake of a row: the take's seed raised, a list of seeds by its length."""
    again = dict(inputs)
    name = take_input(declared)
    if name is None or not retake:
        return again
    given = again.get(name, declared[name].default)
    if isinstance(given, (list, tuple)):
        again[name] = [_next(one, retake * len(given)) for one in given]
    else:
        again[name] = _next(given, retake)
    return again


def following(seed: int, steps: int) -> int:
    """The seed `steps` further, from the largest on to 0."""
    return (seed + steps) % (MAX_SEED + 1)


def _next(given: Any, steps: int) -> Any:
    """What is still to be drawn is raised by whoever draws it."""
    return following(int(given), steps) if isinstance(given, (int, float)) else given
