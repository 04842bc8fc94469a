"""Rules about the whole graph: no circles, no nodes or inputs without effect."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from acestep_flows.errors import MOST_LISTED, Problem
from acestep_flows.graph.checking.rules.finding import finding
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.language.syntax import NAME, references_in
from acestep_flows.graph.language.types import Declaration
from acestep_flows.graph.language.wording import listing, nearest

MOST_MISSPELLINGS = 200


def circles(scope: Scope) -> Iterator[Problem]:
    """No node waits for itself."""
    position = {name: at for at, name in enumerate(scope.graph.nodes)}
    for circle in scope.cycles():
        names = circle[:-1]
        first = names.index(min(names, key=position.__getitem__))
        names = [*names[first:], *names[:first]]
        node = scope.graph.nodes[names[0]]
        more = [f"{len(names) - MOST_LISTED} more"] if len(names) > MOST_LISTED else []
        message = f"nodes go in a circle: {' -> '.join([*names[:MOST_LISTED], *more, names[0]])}"
        yield finding(scope, "cycle", message, node.place, node)


def unreached_nodes(scope: Scope) -> Iterator[Problem]:
    """Every node leads to an output."""
    if _partly_unread(scope):
        return
    nodes, outputs = scope.graph.nodes, scope.graph.outputs.entries
    queue = [reference.name for argument in outputs.values() for reference in references_in(argument)]
    reached: set[str] = set()
    known = _Spelling(nodes)
    while queue:
        name = known.closest(queue.pop())
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
    known = _Spelling(inputs)
    used = {name if name in scope.graph.nodes else known.closest(name) for name in dict.fromkeys(names)}
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


class _Spelling:
    """Finds the known name that another is a misspelling of, so that a typo is reported once.

    Only for the first misspellings: to compare each of thousands with thousands of names takes minutes.
    """

    def __init__(self, known: Collection[str]) -> None:
        self._known, self._left = known, MOST_MISSPELLINGS

    def closest(self, name: str) -> str:
        """`name`, or the known name that is meant."""
        if name in self._known or not self._left:
            return name
        self._left -= 1
        return nearest(name, self._known) or name
