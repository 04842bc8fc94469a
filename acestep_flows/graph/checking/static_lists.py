"""Which lists are known before a run: `each` and `fold` are laid out in the plan, so their lists must be.

What counts is structure, not content: a list of three nodes' outputs has three elements whatever they turn out to be;
a list that one stage computes has as many as it will have. A nested graph may loop over its own input; then whoever
calls it must bind a known list there.
"""

from __future__ import annotations

from acestep_flows.graph.checking.nesting import Unresolved
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.checking.signature import list_of
from acestep_flows.graph.language.document import Fields, Items
from acestep_flows.graph.language.syntax import Argument, NodeSyntax, Reference
from acestep_flows.stages.ports import PortType

Known = frozenset[str] | None
"""Known, provided that these inputs of the graph are known; None is not known."""

ALWAYS: Known = frozenset()


def both(one: Known, other: Known) -> Known:
    return None if one is None or other is None else one | other


def has_structure(kind: PortType | None) -> bool:
    return kind is not None and kind.kind in ("list", "record")


class Lengths:
    """Answers for one scope, and those below it, whether the structure of an argument is known."""

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

    def of(self, argument: Argument, call: NodeSyntax | None, expected: PortType | None) -> Known:
        """Whether the structure of `argument`, as it stands in `call`, is known."""
        if isinstance(argument, Reference):
            return self._reference(argument, call, expected)
        parts: list[tuple[Argument, PortType | None]] = []
        if isinstance(argument, Items):
            parts = [(item, expected.item if expected else None) for item in argument.items]
        elif isinstance(argument, Fields):
            inside = dict(expected.fields) if expected else {}
            parts = [(part, inside.get(name)) for name, part in argument.entries.items()]
        known = ALWAYS
        for part, kind in parts:
            known = both(known, self.of(part, call, kind))
        return known

    def _reference(self, reference: Reference, call: NodeSyntax | None, expected: PortType | None) -> Known:
        try:
            target = self.scope.resolve(reference, call, expected)
        except Unresolved:
            return ALWAYS
        if target.source == "input":
            return frozenset([target.name]) if has_structure(target.type) else ALWAYS
        if target.source == "node":
            return self._output(self.scope.graph.nodes[target.name], target.port)
        assert call is not None
        if target.name in call.loop.entries:
            return self.of(call.loop.entries[target.name], None, list_of(None))
        return None if has_structure(target.type) else ALWAYS

    def _output(self, call: NodeSyntax, port: str) -> Known:
        key = (call.name, port)
        if key not in self._outputs:
            self._outputs[key] = None  # stands while a circle asks for itself
            self._outputs[key] = self._computed(call, port)
        return self._outputs[key]

    def _computed(self, call: NodeSyntax, port: str) -> Known:
        signature = self.scope.signature(call)
        if signature is None or not has_structure(signature.outputs.get(port)):
            return ALWAYS
        if call.kind == "stage" or port in call.carry.entries:
            return None
        inner = self.below(call)
        assert inner is not None
        needed = inner.of(inner.scope.graph.outputs.entries[port], None, None)
        return needed if needed is None else self._bound(call, needed)

    def _bound(self, call: NodeSyntax, inputs: frozenset[str]) -> Known:
        """What must be known here for these inputs of the graph that `call` names to be known."""
        signature = self.scope.signature(call)
        known = ALWAYS
        for name in inputs & call.arguments.entries.keys():
            slot = signature.inputs.get(name) if signature else None
            known = both(known, self.of(call.arguments.entries[name], call, slot.type if slot else None))
        return known

    def below(self, call: NodeSyntax) -> Lengths | None:
        """The same for the graph that `call` names; None where there is none."""
        try:
            scope = self.scope.nested(call)
        except Unresolved:
            return None
        return self._shared.get(id(scope)) or Lengths(scope, self._shared)

    def _inputs(self) -> frozenset[str]:
        """Inputs of this graph whose structure must be known to lay it out."""
        needed: frozenset[str] = frozenset()
        for call in self.scope.graph.nodes.values():
            for argument in call.loop.entries.values():
                needed |= self.of(argument, None, list_of(None)) or frozenset()
            if call.kind == "graph" and (inner := self.below(call)) is not None:
                needed |= self._bound(call, inner.inputs) or frozenset()
        return needed
