"""How long the music is that a node works on: what stages take depends on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeGuard

from acestep_flows.graph.content import Content, Handle, leaves
from acestep_flows.graph.planning.plan import Plan, PlanNode
from acestep_flows.graph.planning.resolve import values_in
from acestep_flows.stages.contract import Stage
from acestep_flows.values import MEL_BANDS, MEL_HOP, MODEL_RATE, SAMPLES_PER_FRAME

BYTES_OF_VALUES: Mapping[str, float] = {
    "latents": 4 * 8 * 16 * MODEL_RATE / SAMPLES_PER_FRAME,
    "mel": 4 * 2 * MEL_BANDS * MODEL_RATE / MEL_HOP,
    "audio": 4 * 2 * MODEL_RATE,
}
"""Of one second, by the kind of the value; of audio about, since its rate and channels differ."""

SHORTEST_SHARE = 0.05
"""What a stage takes of its time at least, however much shorter a song is."""
SHORTEST_TIMED = 0.1
"""Seconds of the shortest song whose time says something about others."""


def share_of_length(length: float, timed: float) -> float:
    """What a stage takes for `length` seconds of music, over what it took for `timed` seconds."""
    return max(SHORTEST_SHARE, length / timed) if timed >= SHORTEST_TIMED else 1.0


def music_seconds(content: Content | Iterable[Content] | Mapping[str, Content]) -> float | None:
    """Seconds of the longest music in `content`, by the size of its values; None without any."""
    lengths = [
        leaf.nbytes / BYTES_OF_VALUES[leaf.kind]
        for leaf in leaves(content)
        if isinstance(leaf, Handle) and leaf.kind in BYTES_OF_VALUES
    ]
    return max(lengths, default=None)


def planned_seconds(node: PlanNode, stage: type[Stage], sources: Mapping[str, float | None]) -> float | None:
    """Seconds of the music that a node will make or read, as far as its inputs tell; None where they do not.

    Args:
        sources: the same for the nodes before it, by id.
    """
    made = node.inputs.get("duration")
    if _is_number(made):
        return float(made)
    values = (getattr(value, "seconds", None) for value in values_in(list(node.inputs.values())))
    before = [*values, *(sources.get(source) for source in node.needs())]
    known = [seconds for seconds in before if seconds is not None]
    if not known:
        return None
    longest: float = max(known)
    if _lengthens(stage):
        longest += sum(seconds for side in ("left", "right") if _is_number(seconds := node.inputs.get(side)))
    return longest


def planned_lengths(plan: Plan, stages: Mapping[str, type[Stage]]) -> dict[str, float | None]:
    """Seconds of the music of every node of a plan, by id, as far as the plan tells."""
    lengths: dict[str, float | None] = {}
    for node in plan.nodes.values():
        lengths[node.id] = planned_seconds(node, stages[node.stage], lengths)
    return lengths


def _lengthens(stage: type[Stage]) -> bool:
    """Whether a stage makes latents longer by `left` and `right`."""
    ports = stage.inputs()
    return {"left", "right", "source"} <= ports.keys() and ports["source"].type.kind == "latents"


def _is_number(content: object) -> TypeGuard[float]:
    return isinstance(content, (int, float)) and not isinstance(content, bool)
