"""Rules about names: stages and graphs that exist, names that are free, references that point at something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

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
    for node in scope.graph.nodes.values():
        if node.kind == "stage" and node.target and scope.stage(node) is None:
            message = partial(unlike, "stage", node.target, sorted(scope.registry))
            yield finding(scope, "unknown-stage", message, node.target_place, node)
        elif node.kind == "graph" and node.target:
            try:
                scope.nested(node)
            except Unresolved as error:
                yield finding(scope, error.rule, partial(getattr, error, "message"), node.target_place, node)


def used_twice(scope: Scope) -> Iterator[Problem]:
    """A name means one thing: inputs, nodes and the variables of a node do not hide each other."""
    inputs = scope.graph.inputs
    owners = {name: ("an input", declared.place) for name, declared in inputs.items()}
    owners |= {name: ("a node", node.place) for name, node in scope.graph.nodes.items()}
    for node in scope.graph.nodes.values():
        if node.name in inputs:
            message = f"{node.name!r} is also an input (line {inputs[node.name].place.line}); allowed: another name"
            yield finding(scope, "name-twice", message, node.place, node)
        own: dict[str, tuple[str, SourcePosition]] = {}
        for fields in (node.each, node.fold, node.carry):
            for name, place in fields.keys.items():
                if (taken := own.get(name) or owners.get(name)) is not None:
                    what, first = taken
                    message = f"variable {name!r} is also {what} (line {first.line}); allowed: another name"
                    yield finding(scope, "name-twice", message, place, node)
                own[name] = ("a variable", place)


def references(scope: Scope) -> Iterator[Problem]:
    """Every reference points at an input, a variable or a node, and at a part that it has."""
    for node in scope.graph.nodes.values():
        for key, _, argument, expected in scope.sections(node):
            inside = node if key == "with" else None
            yield from _unresolved(scope, node, argument, inside, expected)
    for argument in scope.graph.outputs.entries.values():
        yield from _unresolved(scope, None, argument, None, None)


def _unresolved(
    scope: Scope, node: NodeSyntax | None, argument: Argument, inside: NodeSyntax | None, expected: PortType | None
) -> Iterator[Problem]:
    if isinstance(argument, Items):
        for item in argument.items:
            yield from _unresolved(scope, node, item, inside, expected.item if expected else None)
    elif isinstance(argument, Fields):
        kinds = dict(expected.fields) if expected else {}
        for name, part in argument.entries.items():
            yield from _unresolved(scope, node, part, inside, kinds.get(name))
    elif isinstance(argument, Reference):
        try:
            scope.resolve(argument, inside, expected)
        except Unresolved as error:
            if not NAME.fullmatch(argument.name):  # not a reference; `parse` has reported it
                return
            message: Callable[[], str] = partial(getattr, error, "message")
            if inside is None and node is not None and argument.name in node.variables:
                message = partial("{} is a variable of this node, known only in its with:".format, argument)
            yield finding(scope, error.rule, message, argument.place, node)
