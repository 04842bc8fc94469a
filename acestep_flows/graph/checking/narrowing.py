"""What `when:` tells about references: inside a node that runs only when `$x` is there, `$x` is there."""

from __future__ import annotations

from collections.abc import Iterator

from acestep_flows.graph.language.document import Fields
from acestep_flows.graph.language.syntax import Graph, NodeSyntax, Reference, references_in
from acestep_flows.values import MUSIC, MUSIC_KINDS


def present_references(graph: Graph) -> frozenset[int]:
    """The ids of all references that are present wherever they are looked at, though their type is optional.

    These are the condition of a node, written again among what the node is given. Where the condition is one form of
    music (`when: $source.audio`), the other form is present in `otherwise:`.
    """
    return frozenset(
        id(reference) for node in graph.nodes.values() if node.when is not None for reference in _present(graph, node)
    )


def _present(graph: Graph, node: NodeSyntax) -> Iterator[Reference]:
    condition = str(node.when)
    for fields in (node.arguments, node.each, node.fold, node.carry):
        yield from _written_as(condition, fields)
    if (other := _other_form(graph, node.when)) is not None:
        yield from _written_as(other, node.otherwise)


def _written_as(text: str, fields: Fields) -> Iterator[Reference]:
    for argument in fields.entries.values():
        yield from (reference for reference in references_in(argument) if str(reference) == text)


def _other_form(graph: Graph, condition: Reference | None) -> str | None:
    """`$source.latents` for `$source.audio` and the reverse, where `source` is music that must be given."""
    if condition is None or len(condition.path) != 1 or condition.path[0] not in MUSIC_KINDS:
        return None
    declared = graph.inputs.get(condition.name)
    if declared is None or declared.type.kind != MUSIC or declared.type.optional or condition.name in graph.nodes:
        return None
    (other,) = (kind for kind in MUSIC_KINDS if kind != condition.path[0])
    return f"${condition.name}.{other}"
