"""Rules about names: stages and graphs that exist, names that are free, references that point at something."""

from __future__ import annotations

from collections.abc import Iterator

from acestep_flows.errors import Problem
from acestep_flows.graph.checking.nesting import Unresolved
from acestep_flows.graph.checking.rules.finding import finding
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.language.document import Fields, Items, SourcePosition
from acestep_flows.graph.language.syntax import NAME, Argument, NodeSyntax, Reference
from acestep_flows.graph.language.wording import unlike
from acestep_flows.stages.ports import PortType


def targets(scope: Scope) -> Iterator[Problem]:
    """Every stage and graph that a node names exists, and no graph contains itself."""
    for call in scope.graph.nodes.values():
        if call.kind == "stage" and call.target and scope.stage(call) is None:
            message = unlike("stage", call.target, sorted(scope.registry))
            yield finding(scope, "unknown-stage", message, call.target_place, call)
        elif call.kind == "graph" and call.target:
            try:
                scope.nested(call)
            except Unresolved as error:
                yield finding(scope, error.rule, error.message, call.target_place, call)


def used_twice(scope: Scope) -> Iterator[Problem]:
    """A name means one thing: inputs, nodes and the variables of a node do not hide each other."""
    inputs = scope.graph.inputs
    for call in scope.graph.nodes.values():
        if call.name in inputs:
            message = f"{call.name!r} is also an input (line {inputs[call.name].place.line}); allowed: another name"
            yield finding(scope, "name-twice", message, call.place, call)
        taken: dict[str, tuple[str, SourcePosition]] = {name: ("an input", kept.place) for name, kept in inputs.items()}
        taken |= {name: ("a node", other.place) for name, other in scope.graph.nodes.items()}
        for fields in (call.each, call.fold, call.carry):
            for name, place in fields.keys.items():
                if name in taken:
                    what, first = taken[name]
                    message = f"variable {name!r} is also {what} (line {first.line}); allowed: another name"
                    yield finding(scope, "name-twice", message, place, call)
                taken[name] = ("a variable", place)


def references(scope: Scope) -> Iterator[Problem]:
    """Every reference points at an input, a variable or a node, and at a part that it has."""
    for call in scope.graph.nodes.values():
        for key, _, argument, expected in scope.sections(call):
            inside = call if key == "with" else None
            yield from _unresolved(scope, call, argument, inside, expected)
    for argument in scope.graph.outputs.entries.values():
        yield from _unresolved(scope, None, argument, None, None)


def _unresolved(
    scope: Scope, call: NodeSyntax | None, argument: Argument, inside: NodeSyntax | None, expected: PortType | None
) -> Iterator[Problem]:
    if isinstance(argument, Items):
        for item in argument.items:
            yield from _unresolved(scope, call, item, inside, expected.item if expected else None)
    elif isinstance(argument, Fields):
        kinds = dict(expected.fields) if expected else {}
        for name, part in argument.entries.items():
            yield from _unresolved(scope, call, part, inside, kinds.get(name))
    elif isinstance(argument, Reference):
        try:
            scope.resolve(argument, inside, expected)
        except Unresolved as error:
            if not NAME.fullmatch(argument.name):  # no reference at all, which `parse` has said
                return
            message = error.message
            if inside is None and call is not None and argument.name in call.variables:
                message = f"{argument} is a variable of this node, known only in its with:"
            yield finding(scope, error.rule, message, argument.place, call)
