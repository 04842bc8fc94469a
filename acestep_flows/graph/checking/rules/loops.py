"""Rules about `each`, `fold`, `when` and `otherwise`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from acestep_flows.errors import Problem
from acestep_flows.graph.checking.nesting import Unresolved
from acestep_flows.graph.checking.rules.arguments import mismatches
from acestep_flows.graph.checking.rules.finding import finding
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.checking.signature import list_of
from acestep_flows.graph.checking.static_lists import Lengths
from acestep_flows.graph.language.document import Fields, Items
from acestep_flows.graph.language.syntax import Argument, NodeSyntax, Reference, references_in
from acestep_flows.graph.language.wording import unlike
from acestep_flows.stages.ports import PortType


def over_lists(scope: Scope) -> Iterator[Problem]:
    """`each` and `fold` take lists, of one length where the lengths are known."""
    for node in scope.graph.nodes.values():
        key = "each" if node.each.entries else "fold"
        lengths = {len(a.items): name for name, a in node.loop.entries.items() if isinstance(a, Items)}
        if len(lengths) > 1:
            lengths_text = ", ".join(f"{name} has {length}" for length, name in lengths.items())
            message = f"{key}: its lists must have the same length; found {lengths_text}"
            yield finding(scope, "loop", message, node.loop.place, node)
        for name, argument in node.loop.entries.items():
            kind = scope.type_of(argument, None, list_of(None))
            if isinstance(argument, Items) or (isinstance(argument, Reference) and kind is None):
                continue
            if kind is None or kind.kind != "list" or kind.optional:
                actual = f"{argument} is {kind}" if isinstance(argument, Reference) else f"found {kind}"
                yield finding(scope, "loop", f"{key}: {name} takes a list; {actual}", argument.place, node)


def known_lengths(scope: Scope) -> Iterator[Problem]:
    """The lengths of the lists of `each` and `fold` are known before the run: the plan has a node per element."""
    lengths = Lengths(scope)
    allowed = "an input, a list written here, or what each: gives"
    for node in scope.graph.nodes.values():
        key = "each" if node.each.entries else "fold"
        for argument in node.loop.entries.values():
            if lengths.of(argument, None, list_of(None)) is None:
                message = f"{key}: the length of {argument} is known only during the run; allowed: {allowed}"
                yield finding(scope, "loop", message, argument.place, node)
        inner = lengths.below(node) if node.kind == "graph" else None
        for name in sorted(inner.inputs & node.arguments.entries.keys()) if inner else ():
            argument = node.arguments.entries[name]
            if lengths.of(argument, node, inner.scope.graph.inputs[name].type if inner else None) is None:
                message = f"graph {node.target} loops over {name}, whose length is known only during the run"
                yield finding(scope, "loop", f"{message}; allowed: {allowed}", argument.place, node)


def carried(scope: Scope) -> Iterator[Problem]:
    """`carry` names outputs of the body, and the first state is of the output's type."""
    for node in scope.graph.nodes.values():
        yield from _values_for_outputs(scope, node, node.carry, "carry:", "carry")


def conditions(scope: Scope) -> Iterator[Problem]:
    """`when` asks a bool, or whether something optional is present."""
    for node in scope.graph.nodes.values():
        kind = scope.type_of(node.when, None, PortType("bool")) if node.when is not None else None
        if kind is not None and node.when is not None and kind.kind not in ("bool", "any") and not kind.optional:
            message = f"when: takes a bool, or something optional; {node.when} is {kind}"
            yield finding(scope, "when", message, node.when.place, node)


def stand_ins(scope: Scope) -> Iterator[Problem]:
    """`otherwise` names outputs of the node, and what stands in is of the output's type, or null."""
    for node in scope.graph.nodes.values():
        yield from _values_for_outputs(scope, node, node.otherwise, "otherwise:", "when", or_null=True)


def _values_for_outputs(
    scope: Scope, node: NodeSyntax, values: Fields, key: str, rule: str, *, or_null: bool = False
) -> Iterator[Problem]:
    """The names in `values` are outputs of the node, and each value is of its output's type."""
    outputs = scope.outputs(node)
    if outputs is None:
        return
    for name, argument in values.entries.items():
        if name not in outputs:
            message = f"{key} {node.kind} {node.target} has {unlike('output', name, outputs)}"
            yield finding(scope, rule, message, values.keys[name], node)
        elif (kind := outputs[name]) is not None:
            kind = replace(kind, optional=kind.optional or or_null)
            for message, place in mismatches(scope, argument, kind, None):
                yield finding(scope, "type-mismatch", f"{key} {name} {message}", place, node)


def stand_ins_missing(scope: Scope) -> Iterator[Problem]:
    """A reference to a node that may not run finds a stand-in, or stands in a node with the same condition."""
    for node in scope.graph.nodes.values():
        for key, _, argument, expected in scope.sections(node):
            same = node.when if key in ("with", "each", "fold", "carry") else None
            yield from _absent(scope, argument, node, node if key == "with" else None, expected, same)
    for argument in scope.graph.outputs.entries.values():
        yield from _absent(scope, argument, None, None, None, None)


def _absent(
    scope: Scope,
    argument: Argument,
    node: NodeSyntax | None,
    inside: NodeSyntax | None,
    expected: PortType | None,
    condition: Reference | None,
) -> Iterator[Problem]:
    if isinstance(argument, (Items, Fields)):
        for reference in references_in(argument):
            yield from _absent(scope, reference, node, inside, None, condition)
        return
    if not isinstance(argument, Reference) or argument.name not in scope.graph.nodes:
        return
    other = scope.graph.nodes[argument.name]
    if other.when is None or (condition is not None and str(condition) == str(other.when)):
        return
    try:
        target = scope.resolve(argument, inside, expected)
    except Unresolved:
        return
    if target.source == "node" and target.port and target.port not in other.otherwise.entries:
        message = (
            f"node {other.name} runs only when {other.when}, so {argument} may be absent; allowed: give it "
            f"otherwise: {{{target.port}: ...}}, or this node the same when:"
        )
        yield finding(scope, "otherwise-missing", message, argument.place, node)
