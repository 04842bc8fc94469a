"""Which lists are known before a run: `each` and `fold` are laid out in the plan, so their lists must be.

Only the structure matters, not the content: a list of three nodes' outputs has three elements, whatever they are. The
length of a list that a stage computes is not known. Where a nested graph loops over its own input, the node that names
that graph must bind a known list to it.
"""

from __future__ import annotations

from collections.abc import Iterable

from acestep_flows.graph.checking.nesting import Unresolved
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.checking.signature import list_of
from acestep_flows.graph.language.document import Fields, Items
from acestep_flows.graph.language.syntax import Argument, NodeSyntax, Reference
from acestep_flows.stages.ports import PortType

Known = frozenset[str] | None
"""The inputs of the graph that must be known for this to be known; None: it is never known before the run."""

ALWAYS: Known = frozenset()


def all_of(parts: Iterable[Known]) -> Known:
    """What must be known for all of them to be known."""
    needed: set[str] = set()
    for part in parts:
        if part is None:
            return None
        needed |= part
    return frozenset(needed)


def has_structure(kind: PortType | None) -> bool:
    """Whether values of this type have elements or fields."""
    return kind is not None and kind.kind in ("list", "record")


class Lengths:
    """Tells, for one scope and the scopes nested in it, whether the structure of an argument is known."""

    def __init__(self, scope: Scope, shared: dict[int, Lengths] | None = None) -> None:
        self.scope = scope
        self._shared = {} if shared is None else shared
        self._shared[id(scope)] = self
        self._outputs: dict[tuple[str, str], Known] = {}
        if not scope.cycles():
            for name in scope.order():  # in order, so that no chain of nodes becomes a deep recursion
                for port in scope.outputs(scope.graph.nodes[name]) or ():
                    self._output(scope.graph.nodes[name], port)
        self.inputs = self._inputs()

    def of(self, argument: Argument, node: NodeSyntax | None, expected: PortType | None) -> Known:
        """Whether the structure of `argument`, as it stands in `node`, is known."""
        if isinstance(argument, Reference):
            return self._reference(argument, node, expected)
        parts: list[tuple[Argument, PortType | None]] = []
        if isinstance(argument, Items):
            parts = [(item, expected.item if expected else None) for item in argument.items]
        elif isinstance(argument, Fields):
            inside = dict(expected.fields) if expected else {}
            parts = [(part, inside.get(name)) for name, part in argument.entries.items()]
        return all_of(self.of(part, node, kind) for part, kind in parts)

    def _reference(self, reference: Reference, node: NodeSyntax | None, expected: PortType | None) -> Known:
        try:
            target = self.scope.resolve(reference, node, expected)
        except Unresolved:
            return ALWAYS
        if target.source == "input":
            return frozenset([target.name]) if has_structure(target.type) else ALWAYS
        if target.source == "node":
            return self._output(self.scope.graph.nodes[target.name], target.port)
        assert node is not None
        if target.name in node.loop.entries:
            return self.of(node.loop.entries[target.name], None, list_of(None))
        return None if has_structure(target.type) else ALWAYS

    def _output(self, node: NodeSyntax, port: str) -> Known:
        key = (node.name, port)
        if key not in self._outputs:
            self._outputs[key] = None  # stands while a circle asks for itself
            self._outputs[key] = self._computed(node, port)
        return self._outputs[key]

    def _computed(self, node: NodeSyntax, port: str) -> Known:
        signature = self.scope.signature(node)
        if signature is None or not has_structure(signature.outputs.get(port)):
            return ALWAYS
        if node.kind == "stage" or port in node.carry.entries:
            return None
        inner = self.below(node)
        assert inner is not None
        needed = inner.of(inner.scope.graph.outputs.entries[port], None, None)
        return needed if needed is None else self._bound(node, needed)

    def _bound(self, node: NodeSyntax, inputs: frozenset[str]) -> Known:
        """What must be known here for these inputs of the graph that `node` names to be known."""
        signature = self.scope.signature(node)
        kinds = {name: one.type for name, one in signature.inputs.items()} if signature else {}
        given = node.arguments.entries
        return all_of(self.of(given[name], node, kinds.get(name)) for name in inputs & given.keys())

    def below(self, node: NodeSyntax) -> Lengths | None:
        """The same for the graph that `node` names; None where there is none."""
        try:
            scope = self.scope.nested(node)
        except Unresolved:
            return None
        return self._shared.get(id(scope)) or Lengths(scope, self._shared)

    def _inputs(self) -> frozenset[str]:
        """Inputs of this graph whose structure must be known to lay it out."""
        needed: set[str] = set()
        for node in self.scope.graph.nodes.values():
            for argument in node.loop.entries.values():
                needed |= self.of(argument, None, list_of(None)) or frozenset()
            if node.kind == "graph" and (inner := self.below(node)) is not None:
                needed |= self._bound(node, inner.inputs) or frozenset()
        return frozenset(needed)
