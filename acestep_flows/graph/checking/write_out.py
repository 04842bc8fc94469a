"""Writes `use:` out: a graph with its groups becomes one that needs none, as recipes and digests hold it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from acestep_flows.graph.language.document import Fields
from acestep_flows.graph.language.syntax import Graph, NodeSyntax

Takes = Callable[[NodeSyntax], Collection[str]]
"""Names of what a node's stage or nested graph takes; empty where it is unknown."""


def written_out(graph: Graph, takes: Takes) -> Graph:
    """The graph with the inputs of its groups declared in it, and bound by `with:` in the nodes that use them."""
    uses = {name for name, node in graph.nodes.items() if node.use}
    if not uses and not graph.shared:
        return graph
    nodes = {name: _bound(node, takes(node)) if name in uses else node for name, node in graph.nodes.items()}
    return replace(graph, nodes=nodes, content=_content(graph, nodes))


def _bound(node: NodeSyntax, taken: Collection[str]) -> NodeSyntax:
    own = node.arguments
    added = [name for name in node.shared.entries if name in taken and name not in own.entries]
    arguments = Fields(
        own.entries | {name: node.shared.entries[name] for name in added},
        own.keys | {name: node.shared.keys[name] for name in added},
        own.place,
    )
    return replace(node, arguments=arguments)


def _content(graph: Graph, nodes: Mapping[str, NodeSyntax]) -> Any:
    if not isinstance(graph.content, Mapping):
        return graph.content
    content = {key: part for key, part in graph.content.items() if key != "use"}
    if graph.shared:
        content["inputs"] = {**(content.get("inputs") or {}), **graph.shared}
    if isinstance(content.get("nodes"), Mapping):
        content["nodes"] = {name: _node_content(part, nodes.get(name)) for name, part in content["nodes"].items()}
    return content


def _node_content(content: Any, node: NodeSyntax | None) -> Any:
    if node is None or not isinstance(content, Mapping) or "use" not in content:
        return content
    written = content.get("with") or {}
    added = {name: f"${name}" for name in node.arguments.entries if name not in written}
    rest = {key: part for key, part in content.items() if key != "use"}
    return {**rest, "with": {**written, **added}}
