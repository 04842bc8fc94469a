"""What the names in a graph mean: the ports of each node, what a reference points at, and of which type it is.

A `Scope` answers questions about one checked or unchecked graph; the rules ask them to find problems, the layout asks
the same ones to build a plan. A question that an earlier problem makes unanswerable gets None, so that one mistake
gives one message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property, partial
from itertools import chain

from acestep_flows.graph.checking import order
from acestep_flows.graph.checking.narrowing import present_references
from acestep_flows.graph.checking.nesting import Nesting, Unresolved
from acestep_flows.graph.checking.signature import (
    NodeInput,
    Signature,
    Target,
    list_of,
    literal_type,
    only_output,
)
from acestep_flows.graph.checking.write_out import written_out
from acestep_flows.graph.language.document import Fields, Items
from acestep_flows.graph.language.syntax import Argument, Graph, NodeSyntax, Reference, references_in
from acestep_flows.graph.language.wording import listing, unlike
from acestep_flows.graph.pauses import pause
from acestep_flows.stages.contract import Stage
from acestep_flows.stages.ports import PortType
from acestep_flows.values import MUSIC, canonical_json

MAX_STAND_INS = 16
"""How many `otherwise` may stand in for each other before their types are no longer followed."""


class Scope:
    """One graph with its stages and nested graphs at hand, in `graph`, with every `use:` written out.

    Args:
        graph: the graph.
        registry: stages by name.
        nesting: opens the graphs nested in it.
        scopes: scopes of the graphs around this one, by graph.

    Attributes:
        is_terse: problems are only counted; their messages need not be made.
    """

    def __init__(
        self,
        graph: Graph,
        registry: Mapping[str, type[Stage]],
        nesting: Nesting,
        scopes: dict[int, Scope] | None = None,
    ) -> None:
        self._file, self.registry, self._nesting = graph, registry, nesting
        self.graph = written_out(graph, self._takes)
        self._scopes = {} if scopes is None else scopes  # shared by all graphs that nest in each other
        self._scopes[id(graph)] = self
        self._nested: dict[str, Scope | Unresolved] = {}
        self._signatures: dict[str, Signature | None] = {}
        self._targets: dict[tuple[int, PortType | None], Target | Unresolved] = {}
        self._present = present_references(self.graph)
        self._working: set[str] = set()
        self._order: list[str] | None = None
        self.is_terse = False

    def __repr__(self) -> str:
        return f"<Scope of {self.graph.name}: inputs {', '.join(self.graph.inputs) or 'none'}>"

    @cached_property
    def digest(self) -> str:
        """sha256 over the content of the graph and of every graph nested in it; comments and layout do not count."""
        calls = self.graph.nodes.values()
        nested = {call.target: self.nested(call).digest for call in calls if call.kind == "graph"}
        return hashlib.sha256(canonical_json([self.graph.content, nested]).encode()).hexdigest()

    # Nodes and their ports

    def nested(self, node: NodeSyntax) -> Scope:
        """The scope of the nested graph that `node` names.

        Raises:
            Unresolved: there is no such graph, or it contains this one.
        """
        if node.target not in self._nested:
            try:
                self._nested[node.target] = self._open(node.target)
            except Unresolved as error:
                self._nested[node.target] = error
        scope = self._nested[node.target]
        if isinstance(scope, Unresolved):
            raise scope
        return scope

    def _open(self, target: str) -> Scope:
        graph = self._nesting.open(target, self._file)
        if id(graph) not in self._scopes:
            self._scopes[id(graph)] = Scope(graph, self.registry, self._nesting, self._scopes)
        return self._scopes[id(graph)]

    def below(self) -> Iterator[Scope]:
        """This scope and that of every graph nested in it, each once."""
        seen: set[int] = set()
        queue: list[Scope] = [self]
        while queue:
            scope = queue.pop(0)
            if id(scope.graph) in seen:
                continue
            seen.add(id(scope.graph))
            yield scope
            for node in scope.graph.nodes.values():
                if node.kind == "graph" and (inner := scope._nested_or_none(node)) is not None:
                    queue.append(inner)

    def _nested_or_none(self, node: NodeSyntax) -> Scope | None:
        try:
            return self.nested(node) if node.target else None
        except Unresolved:
            return None

    def _takes(self, node: NodeSyntax) -> Collection[str]:
        """Names of what the stage or graph of a node takes."""
        if node.kind == "stage":
            stage = self.stage(node)
            return stage.inputs() if stage is not None else ()
        try:
            return self._nesting.open(node.target, self._file).inputs
        except Unresolved:
            return ()

    def stage(self, node: NodeSyntax) -> type[Stage] | None:
        return self.registry.get(node.target) if node.kind == "stage" else None

    def signature(self, node: NodeSyntax) -> Signature | None:
        """What the stage or graph of `node` takes and gives, once; None where it is unknown."""
        if node.name not in self._signatures:
            self._signatures[node.name] = None  # stands while a circle of graphs asks for itself
            self._signatures[node.name] = self._signature(node)
        return self._signatures[node.name]

    def _signature(self, node: NodeSyntax) -> Signature | None:
        if node.kind == "stage":
            stage = self.stage(node)
            if stage is None:
                return None
            params = stage.Params.model_fields
            node_inputs = {
                name: NodeInput(port.type, port.required, name in params and not port.required, port=port)
                for name, port in stage.inputs().items()
            }
            return Signature(node_inputs, {name: port.type for name, port in stage.outputs().items()})
        scope = self._nested_or_none(node)
        if scope is None or not scope.graph.readable:
            return None
        node_inputs = {
            name: NodeInput(declared.type, declared.required, not declared.required, declaration=declared)
            for name, declared in scope.graph.inputs.items()
        }
        return Signature(node_inputs, {name: scope.type_of(item) for name, item in scope.graph.outputs.entries.items()})

    def outputs(self, node: NodeSyntax) -> Mapping[str, PortType | None] | None:
        """What references to the node find: lists under `each`, the last state and lists under `fold`."""
        signature = self.signature(node)
        if signature is None:
            return None
        if not node.loop.entries:
            return signature.outputs
        return {name: kind if name in node.carry.entries else list_of(kind) for name, kind in signature.outputs.items()}

    # References and types

    def resolve(self, reference: Reference, node: NodeSyntax | None = None, expected: PortType | None = None) -> Target:
        """What `reference` points at when it stands in the `with:` of `node` (None: outside any node).

        Args:
            expected: the type of the port it goes to, by which `$node` finds its output.

        Raises:
            Unresolved: it points nowhere.
        """
        pause()
        key = (id(reference), expected)
        if key not in self._targets:
            try:
                found = self._resolve(reference, node, expected)
                self._targets[key] = found.present if id(reference) in self._present else found
            except Unresolved as error:
                self._targets[key] = error
        target = self._targets[key]
        if isinstance(target, Unresolved):
            raise target
        return target

    def _resolve(self, reference: Reference, node: NodeSyntax | None, expected: PortType | None) -> Target:
        name = reference.name
        if node is not None and name in node.variables:
            return self._fields(Target("variable", name, self._variable(node, name)), reference)
        if name in self.graph.inputs and name in self.graph.nodes:
            return Target("input", name, None)
        if name in self.graph.inputs:
            return self._fields(Target("input", name, self.graph.inputs[name].type), reference)
        if name in self.graph.nodes:
            return self._node(reference, expected)
        names = chain(node.variables if node else (), self.graph.inputs, self.graph.nodes)
        raise Unresolved(
            "dangling-reference", lambda: f"{reference} points at nothing: {unlike('input or node', name, names)}"
        )

    def _variable(self, node: NodeSyntax, name: str) -> PortType | None:
        """The type of an element of the list, or of the state that a fold carries."""
        if name in node.loop.entries:
            kind = self.type_of(node.loop.entries[name])
            return kind.item if kind is not None and kind.kind == "list" else None
        signature = self.signature(node)
        return signature.outputs.get(name) if signature else None

    def _fields(self, target: Target, reference: Reference) -> Target:
        kind, of_music = target.type, False
        for depth, name in enumerate(reference.path):
            if kind is None or kind.kind == "any":
                kind = None
                break
            fields = kind.parts
            if not fields:
                at = ".".join((reference.name, *reference.path[:depth]))
                raise Unresolved("unknown-port", f"{reference}: ${at} is of type {kind} and has no fields")
            if name not in fields:
                raise Unresolved("unknown-port", partial(_no_part, reference, "field", name, fields))
            kind, of_music = fields[name], kind.kind == MUSIC
        return Target(target.source, target.name, kind, path=reference.path, of_music=of_music)

    def _node(self, reference: Reference, expected: PortType | None) -> Target:
        node = self.graph.nodes[reference.name]
        outputs = self.outputs(node)
        if outputs is None:
            return Target("node", node.name, None, port=".".join(reference.path))
        if len(reference.path) > 1:
            allowed = listing(f"${node.name}.{port}" for port in outputs)
            raise Unresolved("unknown-port", f"{reference}: an output of a node has no fields; allowed: {allowed}")
        if reference.path:
            port = reference.path[0]
            if port not in outputs:
                raise Unresolved("unknown-port", partial(_no_part, reference, "output", port, outputs))
        else:
            port = only_output(reference, outputs, expected)
        return Target("node", node.name, self._or_absent(node, port, outputs[port]), port=port)

    def _or_absent(self, node: NodeSyntax, port: str, kind: PortType | None) -> PortType | None:
        """The type of an output whose node may not run and whose stand-in may be null."""
        if kind is None or node.when is None or port not in node.otherwise.entries:
            return kind
        if node.name in self._working or len(self._working) > MAX_STAND_INS:  # stand-ins for stand-ins, in a circle
            return kind
        self._working.add(node.name)
        other = self.type_of(node.otherwise.entries[port], None, kind)
        self._working.discard(node.name)
        if other is not None and other.optional and not kind.optional:
            return PortType(kind.kind, kind.item, kind.fields, optional=True)
        return kind

    def type_of(
        self, argument: Argument, node: NodeSyntax | None = None, expected: PortType | None = None
    ) -> PortType | None:
        """The type of an argument; None where it has none of its own or a problem hides it."""
        if isinstance(argument, Reference):
            try:
                return self.resolve(argument, node, expected).type
            except Unresolved:
                return None
        if isinstance(argument, Items):
            inner = expected.item if expected is not None else None
            kinds = {self.type_of(item, node, inner) for item in argument.items}
            if kinds == {PortType("int"), PortType("float")}:
                return list_of(PortType("float"))
            return list_of(kinds.pop() if len(kinds) == 1 else None)
        if isinstance(argument, Fields):
            inside = dict(expected.fields) if expected is not None else {}
            parts = ((name, self.type_of(part, node, inside.get(name))) for name, part in argument.entries.items())
            return PortType("record", fields=tuple((name, kind or PortType("any")) for name, kind in parts))
        return literal_type(argument.value)

    def sections(self, node: NodeSyntax) -> Iterator[tuple[str, str, Argument, PortType | None]]:
        """Every argument of a node: the key it stands under, its name, itself, and the type expected of it."""
        signature, outputs = self.signature(node), self.outputs(node) or {}
        for name, argument in node.arguments.entries.items():
            node_input = signature.inputs.get(name) if signature else None
            yield "with", name, argument, node_input.type if node_input else None
        for name, argument in node.loop.entries.items():
            yield "each" if node.each.entries else "fold", name, argument, list_of(None)
        for name, argument in node.carry.entries.items():
            yield "carry", name, argument, outputs.get(name)
        for name, argument in node.otherwise.entries.items():
            yield "otherwise", name, argument, outputs.get(name)
        if node.when is not None:
            yield "when", "when", node.when, PortType("bool")

    # Dependencies

    def names_used(self, node: NodeSyntax) -> set[str]:
        """The inputs and nodes that a node refers to; its own variables are left out."""
        inside = {
            reference.name for argument in node.arguments.entries.values() for reference in references_in(argument)
        }
        outside = {
            reference.name
            for key, _, argument, _ in self.sections(node)
            if key != "with"
            for reference in references_in(argument)
        }
        return inside - set(node.variables) | outside

    def needs(self, node: NodeSyntax) -> set[str]:
        """Names of the nodes that a node refers to."""
        return self.names_used(node) & self.graph.nodes.keys()

    @cached_property
    def _needs(self) -> dict[str, set[str]]:
        return {name: self.needs(node) for name, node in self.graph.nodes.items()}

    def cycles(self) -> list[list[str]]:
        """Circles of nodes, each as the names along it, the first repeated at the end."""
        return order.circles(self._needs)

    def order(self) -> list[str]:
        """The nodes of a graph without circles, each after what it needs, else as the file has them."""
        if self._order is None:
            self._order = order.in_order(self._needs)
        return self._order


def _no_part(reference: Reference, what: str, name: str, allowed: Collection[str]) -> str:
    return f"{reference}: {unlike(what, name, allowed)}"
