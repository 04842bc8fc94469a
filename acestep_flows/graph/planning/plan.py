"""A plan: one graph with its inputs filled in, nested graphs, `each` and `fold` laid out, ready to run.

A plan holds only stage nodes, in an order in which they can run. What was dynamic in the file is static here, except
`when`, which may wait for a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from acestep_flows.stages.contract import StageParams


@dataclass(frozen=True)
class NodeOutput:
    """A reference to one output port of a planned node; `kind` is that of the port's type."""

    node: str
    port: str
    kind: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        return f"${self.node}.{self.port}"


@dataclass(frozen=True)
class Fallback:
    """The first of `options` that is present: all outputs in it belong to nodes that ran, and it is not None.

    A reference into a node with `when` becomes one; the options after the first are its `otherwise`. The last option
    may be None: then the whole may be absent, which only optional ports accept.
    """

    options: tuple[Any, ...]


Binding = Any
"""Where a port's content comes from: a literal (JSON or a `Value`), a `NodeOutput`, a `Fallback`, or lists and maps
of them."""


@dataclass(frozen=True)
class PlanNode:
    """One stage call.

    Attributes:
        id: unique path of the node: `song`, `takes[3]`, `chain[2].sample`.
        stage: the stage's name.
        inputs: port or parameter name to binding.
        when: bindings that must all turn out true for the node to run; none of them runs always. Anything but
            False and None counts as true (a condition may ask whether a value is present).
        params: the stage's parameters, checked; None when another node computes one of them, or nobody checked yet.
            Then the call checks them.
    """

    id: str
    stage: str
    inputs: Mapping[str, Binding]
    when: tuple[Binding, ...] = ()
    params: StageParams | None = field(default=None, compare=False)

    def needs(self) -> set[str]:
        """Ids of the nodes this one waits for."""
        return {output.node for output in outputs_in([self.inputs, self.when])}


@dataclass(frozen=True)
class Plan:
    """A graph ready to run.

    Attributes:
        graph: the graph's name.
        digest: sha256 over the graph's canonical content, nested graphs included.
        inputs: the resolved inputs, random seeds drawn; JSON literals or `Value`s.
        nodes: by id, in an order in which each comes after what it needs.
        outputs: output name to binding.
    """

    graph: str
    digest: str
    inputs: Mapping[str, Any]
    nodes: Mapping[str, PlanNode]
    outputs: Mapping[str, Binding]
    warnings: tuple[str, ...] = field(default=())


def outputs_in(binding: Binding) -> Iterator[NodeOutput]:
    """Every node output that a binding refers to."""
    if isinstance(binding, NodeOutput):
        yield binding
    elif isinstance(binding, Fallback):
        yield from outputs_in(binding.options)
    elif isinstance(binding, Mapping):
        for part in binding.values():
            yield from outputs_in(part)
    elif isinstance(binding, (list, tuple)):
        for part in binding:
            yield from outputs_in(part)
