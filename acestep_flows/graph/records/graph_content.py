"""A checked graph as plain data, nested graphs included, and back.

Recipes and bulk jobs keep a graph this way, so a run can be made again where the graph file has changed or is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acestep_flows.errors import InputError, NotFound
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.language.parse import parse_plain
from acestep_flows.graph.language.syntax import Graph
from acestep_flows.stages.contract import Stage
from acestep_flows.stages.registry import stages


def graph_content(scope: Scope) -> dict[str, Any]:
    """A checked graph as plain data, the graphs it nests by the names it calls them."""
    graph_nodes = [node for node in scope.graph.nodes.values() if node.kind == "graph"]
    nested = {node.target: graph_content(scope.nested(node)) for node in graph_nodes}
    return {"graph": scope.graph.content} | ({"nested": nested} if nested else {})


def graph_scope(content: Any, where: str, registry: Mapping[str, type[Stage]] | None = None) -> Scope:
    """The checked graph of a content that `graph_content` gave. Without a `registry`, every stage is known.

    Raises:
        InputError: the content has another form.
        GraphError: the graph does not check with the stages of this version.
    """
    nested_in: dict[int, Mapping[str, Any]] = {}
    graphs: dict[int, Graph] = {}  # by the id of their content; held, so that no id is used twice

    def read(part: Any) -> Graph:
        if not isinstance(part, Mapping) or "graph" not in part or not isinstance(part.get("nested", {}), Mapping):
            raise InputError("holds no graph", where=where, allowed="a recipe as runs write it")
        if id(part) not in graphs:
            graph = graphs[id(part)] = parse_plain(part["graph"], where)
            nested_in[id(graph)] = part.get("nested", {})
        return graphs[id(part)]

    def find(target: str, asking: Graph) -> Graph:
        nested = nested_in[id(asking)]
        if target not in nested:
            raise NotFound(f"no graph {target!r} in the recipe")
        return read(nested[target])

    return checked(read(content), registry if registry is not None else stages(), find)
