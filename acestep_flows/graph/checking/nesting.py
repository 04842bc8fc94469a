"""Opens the graphs that a graph nests. A circle, or graphs nested too deep, are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from acestep_flows.errors import InputError, NotFound
from acestep_flows.graph.language.syntax import Graph

MAX_NESTING = 16

Find = Callable[[str, Graph], Graph]
"""Gives the graph that a `graph:` key of another graph names. `library.Library.nested` is one."""


class Unresolved(Exception):
    """A reference or target that points nowhere, with the rule that reports it and its message."""

    def __init__(self, rule: str, message: str | Callable[[], str]) -> None:
        self.rule, self._message = rule, message
        super().__init__(rule)

    @property
    def message(self) -> str:
        """What the rule tells. Made only when it is asked for: it may compare a name with all others."""
        if not isinstance(self._message, str):
            self._message = self._message()
        return self._message


class Nesting:
    """Opens nested graphs for one check or plan."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._heights: dict[int, int] = {}
        self._opened: dict[tuple[str, int], Graph | Unresolved] = {}

    def open(self, target: str, asking: Graph) -> Graph:
        """The graph that `asking` names.

        Raises:
            Unresolved: there is no such graph, it contains `asking`, or it goes too deep.
        """
        key = (target, id(asking))
        if key not in self._opened:
            try:
                self._opened[key] = self._open(target, asking)
            except Unresolved as error:
                self._opened[key] = error
        found = self._opened[key]
        if isinstance(found, Unresolved):
            raise found
        return found

    def _open(self, target: str, asking: Graph) -> Graph:
        try:
            graph = self._find(target, asking)
        except (NotFound, InputError) as error:
            raise Unresolved("unknown-graph", str(error)) from None
        if (circle := self._circle(graph, asking)) is not None:
            raise Unresolved("graph-cycle", f"graphs go in a circle: {' -> '.join(circle)}")
        if self._height(graph, 1) >= MAX_NESTING:
            raise Unresolved("graph-cycle", f"graphs nested deeper than {MAX_NESTING}")
        return graph

    def _circle(self, graph: Graph, end: Graph) -> list[str] | None:
        """The names on the path from `end` through `graph` back to `end`; None where no path leads back."""
        stack, seen = [(graph, [end.name, graph.name])], {id(graph)}
        while stack:
            graph, path = stack.pop()
            if graph is end or (graph.path is not None and graph.path == end.path):
                return path
            for inner in self._inside(graph):
                if id(inner) not in seen:
                    seen.add(id(inner))
                    stack.append((inner, [*path, inner.name]))
        return None

    def _height(self, graph: Graph, level: int) -> int:
        """Levels of nesting in `graph`, itself included. In a circle or beyond the limit it is only a large number."""
        if level > MAX_NESTING:
            return MAX_NESTING
        if id(graph) not in self._heights:
            self._heights[id(graph)] = 1  # stands while a circle asks for itself
            inside = [self._height(inner, level + 1) for inner in self._inside(graph)]
            self._heights[id(graph)] = 1 + max(inside, default=0)
        return self._heights[id(graph)]

    def _inside(self, graph: Graph) -> Iterator[Graph]:
        for target in {node.target: None for node in graph.nodes.values() if node.kind == "graph" and node.target}:
            try:
                yield self._find(target, graph)
            except (NotFound, InputError):
                continue
