"""Rules about the whole: no circles, nothing that leads nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from acestep_flows.errors import Problem
from acestep_flows.graph.checking.rules.finding import finding
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.language.syntax import NAME, references_in
from acestep_flows.graph.language.wording import listing, nearest


def circles(scope: Scope) -> Iterator[Problem]:
    """No node waits for itself."""
    for circle in scope.cycles():
        order = list(scope.graph.nodes)
        names = circle[:-1]
        first = names.index(min(names, key=order.index))
        names = [*names[first:], *names[:first]]
        call = scope.graph.nodes[names[0]]
        message = f"nodes go in a circle: {' -> '.join([*names, names[0]])}"
        yield finding(scope, "cycle", message, call.place, call)


def unreached_nodes(scope: Scope) -> Iterator[Problem]:
    """Every node leads to an output."""
    if _hidden(scope):
        return
    nodes, outputs = scope.graph.nodes, scope.graph.outputs.entries
    queue = [reference.name for argument in outputs.values() for reference in references_in(argument)]
    reached: set[str] = set()
    while queue:
        name = _meant(queue.pop(), nodes)
        if name in nodes and name not in reached:
            reached.add(name)
            queue.extend(scope.names_used(nodes[name]))
    for name, call in nodes.items():
        if name not in reached and NAME.fullmatch(name):
            message = f"nothing comes of this node: no output leads back to it; outputs: {listing(outputs)}"
            yield finding(scope, "unreached", message, call.place, call)


def unused_inputs(scope: Scope) -> Iterator[Problem]:
    """Every input is used."""
    if _hidden(scope):
        return
    inputs = scope.graph.inputs
    names = [reference.name for a in scope.graph.outputs.entries.values() for reference in references_in(a)]
    for call in scope.graph.nodes.values():
        names.extend(scope.names_used(call))
    known = scope.graph.nodes
    used = {name if name in known else _meant(name, inputs) for name in names}
    for name, declared in inputs.items():
        if name not in used and NAME.fullmatch(name):
            message = f"input {name} is never used; allowed: refer to ${name}, or leave it out"
            yield finding(scope, "unused-input", message, declared.place)


def _hidden(scope: Scope) -> bool:
    """Whether part of the file could not be read, so that a use of something may stand there."""
    return any(problem.rule in ("not-a-map", "unknown-key", "node-kind", "when") for problem in scope.graph.problems)


def _meant(name: str, names: Iterable[str]) -> str:
    """`name`, or the one it is a misspelling of: a typo is reported once, as a typo."""
    known = set(names)
    return name if name in known else nearest(name, known) or name
