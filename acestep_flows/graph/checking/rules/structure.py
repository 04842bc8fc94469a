"""Rules about the whole graph: no circles, no nodes or inputs without effect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from acestep_flows.errors import Problem
from acestep_flows.graph.checking.rules.finding import finding
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.language.syntax import NAME, references_in
from acestep_flows.graph.language.types import Declaration
from acestep_flows.graph.language.wording import listing, nearest


def circles(scope: Scope) -> Iterator[Problem]:
    """No node waits for itself."""
    for circle in scope.cycles():
        order = list(scope.graph.nodes)
        names = circle[:-1]
        first = names.index(min(names, key=order.index))
        names = [*names[first:], *names[:first]]
        node = scope.graph.nodes[names[0]]
        message = f"nodes go in a circle: {' -> '.join([*names, names[0]])}"
        yield finding(scope, "cycle", message, node.place, node)


def unreached_nodes(scope: Scope) -> Iterator[Problem]:
    """Every node leads to an output."""
    if _partly_unread(scope):
        return
    nodes, outputs = scope.graph.nodes, scope.graph.outputs.entries
    queue = [reference.name for argument in outputs.values() for reference in references_in(argument)]
    reached: set[str] = set()
    while queue:
        name = _closest_name(queue.pop(), nodes)
        if name in nodes and name not in reached:
            reached.add(name)
            queue.extend(scope.names_used(nodes[name]))
    for name, node in nodes.items():
        if name not in reached and NAME.fullmatch(name):
            message = f"this node is not used by any output; outputs: {listing(outputs)}"
            yield finding(scope, "unreached", message, node.place, node)


def unused_inputs(scope: Scope) -> Iterator[Problem]:
    """Every input is used."""
    if _partly_unread(scope):
        return
    inputs = scope.graph.inputs
    names = [reference.name for a in scope.graph.outputs.entries.values() for reference in references_in(a)]
    for node in scope.graph.nodes.values():
        names.extend(scope.names_used(node))
    known = scope.graph.nodes
    used = {name if name in known else _closest_name(name, inputs) for name in names}
    of_groups: dict[str, list[Declaration]] = {}
    for name, declared in inputs.items():
        if name in used or not NAME.fullmatch(name):
            continue
        if declared.group:
            of_groups.setdefault(declared.group, []).append(declared)
            continue
        message = f"input {name} is never used; allowed: refer to ${name}, or leave it out"
        yield finding(scope, "unused-input", message, declared.place)
    for group, unused in of_groups.items():
        names_text = listing(declared.name for declared in unused)
        message = f"no node takes {names_text} of group {group}; allowed: use: [{group}] in a node that does"
        yield finding(scope, "unused-input", message, unused[0].place)


def _partly_unread(scope: Scope) -> bool:
    """Whether a part of the file could not be read: what seems unused may be used there."""
    return any(problem.rule in ("not-a-map", "unknown-key", "node-kind", "when") for problem in scope.graph.problems)


def _closest_name(name: str, names: Iterable[str]) -> str:
    """`name`, or the known name it is a misspelling of, so that a typo is reported once."""
    known = set(names)
    return name if name in known else nearest(name, known) or name
