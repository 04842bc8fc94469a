"""A checked graph as plain data, nested graphs included, and back.

Recipes and bulk jobs keep a graph this way, so a run can be made again where the graph file has changed or is gone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from acestep_flows.errors import InputError, NotFound
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.language.parse import parse
from acestep_flows.graph.language.syntax import Graph
from acestep_flows.stages.contract import Stage
from acestep_flows.stages.registry import stages


def graph_content(scope: Scope) -> dict[str, Any]:
    """A checked graph as plain data, the graphs it nests by the names it calls them."""
    calls = [call for call in scope.graph.nodes.values() if call.kind == "graph"]
    nested = {call.target: graph_content(scope.nested(call)) for call in calls}
    return {"graph": scope.graph.content} | ({"nested": nested} if nested else {})


def graph_scope(content: Any, where: str, registry: Mapping[str, type[Stage]] | None = None) -> Scope:
    """The checked graph that `graph_content` took apart; `registry` is every stage there is, if not given.

    Raises:
        InputError: it is no such content.
        GraphError: the graph does not check with the stages of this version.
    """
    nested_in: dict[int, Mapping[str, Any]] = {}
    kept: list[Graph] = []  # so that no id is used twice

    def read(part: Any) -> Graph:
        if not isinstance(part, Mapping) or "graph" not in part or not isinstance(part.get("nested", {}), Mapping):
            raise InputError("holds no graph", where=where, allowed="a recipe as runs write it")
        # JSON is YAML, so the reader of graph files reads this, too.
        graph = parse(json.dumps(part["graph"]), where)
        kept.append(graph)
        nested_in[id(graph)] = part.get("nested", {})
        return graph

    def find(target: str, asking: Graph) -> Graph:
        nested = nested_in[id(asking)]
        if target not in nested:
            raise NotFound(f"no graph {target!r} in the recipe")
        return read(nested[target])

    return checked(read(content), registry if registry is not None else stages(), find)
