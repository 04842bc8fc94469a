"""Whether a graph that changed since a job began would still make the same songs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

_FOR_PEOPLE = ("summary", "description", "unit", "advanced", "similar")
"""Keys of a graph or declaration that change no song."""


def comparable(content: Any, before: Any) -> Any:
    """The content of a graph, as `graph_content` gives it, without what cannot change a song of `before`.

    This leaves out words for people, and optional inputs that `before` does not have: a job that began with it gives
    none of them, so that all they are bound to keeps its default.
    """
    if not isinstance(content, Mapping) or not isinstance(content.get("graph"), Mapping):
        return content
    old = before if isinstance(before, Mapping) else {}
    nested, old_nested = content.get("nested", {}), old.get("nested", {})
    graph = _graph(content["graph"], old.get("graph", {}))
    return {"graph": graph, "nested": {name: comparable(part, old_nested.get(name)) for name, part in nested.items()}}


def _graph(graph: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    inputs, old_inputs = graph.get("inputs") or {}, before.get("inputs") or {}
    added = {name for name, declared in inputs.items() if name not in old_inputs and _is_optional(declared)}
    nodes, old_nodes = graph.get("nodes") or {}, before.get("nodes") or {}
    kept = {key: part for key, part in graph.items() if key not in _FOR_PEOPLE}
    if inputs:
        kept["inputs"] = {name: _declaration(declared) for name, declared in inputs.items() if name not in added}
    if nodes:
        kept["nodes"] = {name: _node(node, old_nodes.get(name), added) for name, node in nodes.items()}
    return kept


def _is_optional(declared: Any) -> bool:
    return isinstance(declared, Mapping) and "default" in declared and declared["default"] is None


def _declaration(declared: Any) -> Any:
    if not isinstance(declared, Mapping):
        return declared
    return {key: part for key, part in declared.items() if key not in _FOR_PEOPLE}


def _node(node: Any, before: Any, added: Collection[str]) -> Any:
    if not isinstance(node, Mapping):
        return node
    old = (before.get("with") or {}) if isinstance(before, Mapping) else {}
    bound = node.get("with") or {}
    unbound = [name for name, argument in bound.items() if name not in old and _is_reference(argument, added)]
    return {**node, "with": {name: argument for name, argument in bound.items() if name not in unbound}}


def _is_reference(argument: Any, inputs: Collection[str]) -> bool:
    return isinstance(argument, str) and argument.startswith("$") and argument[1:] in inputs
