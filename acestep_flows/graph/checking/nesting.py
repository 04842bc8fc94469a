"""Graphs that name other graphs: found, never in a circle, never too deep."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from acestep_flows.errors import InputError, NotFound
from acestep_flows.graph.language.syntax import Graph

MAX_NESTING = 16

Find = Callable[[str, Graph], Graph]
"""Finds the graph that a `graph:` key of a graph names; `find.Library.nested` is one."""


class Unresolved(Exception):
    """A reference or target that points nowhere: which rule says so, and how."""

    def __init__(self, rule: str, message: str) -> None:
        self.rule, self.message = rule, message
        super().__init__(message)


class Nesting:
    """Opens nested graphs for one check or plan."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._heights: dict[int, int] = {}

    def open(self, target: str, asking: Graph) -> Graph:
        """The graph that `asking` names.

        Raises:
            Unresolved: there is no such graph, it contains `asking`, or it goes too deep.
        """
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
        """The names along the way from `end` by `graph` back to `end`, if there is one."""
        stack, seen = [(graph, [end.name, graph.name])], {id(graph)}
        while stack:
            graph, way = stack.pop()
            if graph is end or (graph.path is not None and graph.path == end.path):
                return way
            for inner in self._inside(graph):
                if id(inner) not in seen:
                    seen.add(id(inner))
                    stack.append((inner, [*way, inner.name]))
        return None

    def _height(self, graph: Graph, level: int) -> int:
        """How many graphs deep `graph` is, itself included; in a circle or beyond the limit merely a large number."""
        if level > MAX_NESTING:
            return MAX_NESTING
        if id(graph) not in self._heights:
            self._heights[id(graph)] = 1  # stands while a circle asks for itself
            inside = [self._height(inner, level + 1) for inner in self._inside(graph)]
            self._heights[id(graph)] = 1 + max(inside, default=0)
        return self._heights[id(graph)]

    def _inside(self, graph: Graph) -> Iterator[Graph]:
        for target in {call.target: None for call in graph.nodes.values() if call.kind == "graph" and call.target}:
            try:
                yield self._find(target, graph)
            except (NotFound, InputError):
                continue
