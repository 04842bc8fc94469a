"""Replay: two recipes of the same graph, compared node by node.

The runs part at the first node, in the order of the plan, whose outputs differ. The reason is what differs among all
that its outputs depend on. Where none of that differs, the stage gave another result for the same inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from acestep_flows.graph.records.recipe import NodePart, Recipe

NO_CAUSE = (
    "the same inputs, weights and parameters gave another result. On processors another number of threads changes "
    "the last digits: bulk jobs take one for each song, as OMP_NUM_THREADS=1 does"
)

Verdict: TypeAlias = Literal["same", "differs", "missing", "new"]


@dataclass(frozen=True)
class NodeComparison:
    """One node of either recipe.

    Attributes:
        ports: the output ports that differ.
        reason: what its outputs depend on that differs; empty for the same.
    """

    id: str
    stage: str
    verdict: Verdict
    ports: tuple[str, ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        ports = f" in {', '.join(self.ports)}" if self.ports else ""
        reason = f": {self.reason}" if self.reason else ""
        return f"node {self.id} ({self.stage}) {self.verdict}{ports}{reason}"


@dataclass(frozen=True)
class Comparison:
    """All nodes, those of the first recipe in its order, then new ones."""

    nodes: tuple[NodeComparison, ...]

    @property
    def same(self) -> bool:
        """Every node gave the same outputs."""
        return self.first is None

    @property
    def first(self) -> NodeComparison | None:
        """The first difference."""
        return next((node for node in self.nodes if node.verdict != "same"), None)


def compare(before: Recipe, after: Recipe) -> Comparison:
    """What became of each node of `before` in `after`."""
    again = {node.id: node for node in after.nodes}
    known = {node.id for node in before.nodes}
    compared = [_compare(node, again.get(node.id)) for node in before.nodes]
    new = [
        NodeComparison(node.id, node.stage, "new", reason="not in the recipe")
        for id, node in again.items()
        if id not in known
    ]
    return Comparison((*compared, *new))


def _compare(before: NodePart, after: NodePart | None) -> NodeComparison:
    if after is None:
        return NodeComparison(before.id, before.stage, "missing", reason="it did not run this time")
    ports = sorted(before.outputs.keys() | after.outputs.keys())
    differing = tuple(port for port in ports if before.outputs.get(port) != after.outputs.get(port))
    if not differing:
        return NodeComparison(before.id, before.stage, "same")
    return NodeComparison(before.id, before.stage, "differs", differing, _reason(before, after))


def _reason(before: NodePart, after: NodePart) -> str:
    if not before.key or not after.key:
        return "it was skipped before" if not before.key else "it was skipped this time"
    causes = [
        f"{name} {getattr(before, name)} became {getattr(after, name)}"
        for name in ("stage", "version", "numerics")
        if getattr(before, name) != getattr(after, name)
    ]
    causes += ["its weights differ"] * (before.weights != after.weights)
    causes += ["its parameters differ"] * (before.params != after.params)
    ports = sorted(before.inputs.keys() | after.inputs.keys())
    changed = [port for port in ports if before.inputs.get(port) != after.inputs.get(port)]
    causes += [f"its input {port} differs" for port in changed]
    return "; ".join(causes) or NO_CAUSE
