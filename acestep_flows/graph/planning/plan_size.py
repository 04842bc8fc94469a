"""The size of a plan: nodes, and values given to nodes. Counted before they are laid out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acestep_flows.errors import InputError
from acestep_flows.graph.checking.nesting import Unresolved
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.language.document import Fields, Items
from acestep_flows.graph.language.syntax import Argument, NodeSyntax

MAX_PARTS = 4_000_000
"""Elements of the lists and maps that the nodes of a plan are given; each node has its own copy."""


class PlanSize:
    """Counts what a plan holds, and refuses what is too much.

    Args:
        most: nodes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._nodes = self._parts = 0
        self._least: dict[int, int] = {}
        self._written: dict[int, int] = {}
        self._lists: dict[int, tuple[Any, int]] = {}

    def loop(self, scope: Scope, call: NodeSyntax, rows: int, path: str) -> None:
        """Refuse a loop whose nodes would be too many, before the first is laid out.

        Raises:
            InputError: they are.
        """
        self._check(self._nodes + rows * self._of_call(scope, call), path)

    def node(self, call: NodeSyntax, path: str) -> None:
        """Count one node, and what is written in its arguments.

        Raises:
            InputError: the nodes are too many, or hold too much.
        """
        self._nodes += 1
        self._check(self._nodes, path)
        if id(call) not in self._written:
            self._written[id(call)] = _parts_written(call.arguments)
        self._count(self._written[id(call)], path)

    def bindings(self, bindings: Mapping[str, Any], path: str) -> None:
        """Count the lists and maps that a node is given.

        Raises:
            InputError: they hold too much.
        """
        for binding in bindings.values():
            if isinstance(binding, (list, tuple, Mapping)):
                self._count(self._size(binding), path)

    def _check(self, nodes: int, path: str) -> None:
        if nodes > self._most:
            raise InputError(f"more than {self._most} nodes", where=f"node {path}", allowed="shorter lists")

    def _count(self, parts: int, path: str) -> None:
        self._parts += parts
        if self._parts > MAX_PARTS:
            what = f"the nodes up to this one are given more than {MAX_PARTS} values in lists and maps"
            raise InputError(what, where=f"node {path}", allowed="shorter lists")

    def _of_call(self, scope: Scope, call: NodeSyntax) -> int:
        """At least as many nodes as one element of a loop over `call` takes."""
        if call.kind == "stage":
            return 1
        try:
            inner = scope.nested(call)
        except Unresolved:
            return 1
        if id(inner) not in self._least:
            sure = [node for node in inner.graph.nodes.values() if node.when is None and not node.loop.entries]
            self._least[id(inner)] = 1 + sum(self._of_call(inner, node) for node in sure)
        return self._least[id(inner)]

    def _size(self, content: Any) -> int:
        """How many parts a list or map has, with those of its parts. One that many nodes share is walked once."""
        if not isinstance(content, (list, tuple, Mapping)):
            return 1
        if id(content) not in self._lists:
            parts = content.values() if isinstance(content, Mapping) else content
            self._lists[id(content)] = (content, sum(map(self._size, parts)))  # held, so that its id stays its own
        return self._lists[id(content)][1]


def _parts_written(argument: Argument, depth: int = 0) -> int:
    """The elements of the lists and maps that are written in an argument."""
    if isinstance(argument, Items):
        return sum(_parts_written(item, depth + 1) for item in argument.items)
    if isinstance(argument, Fields):
        return sum(_parts_written(part, depth + 1) for part in argument.entries.values())
    return 1 if depth > 1 else 0
