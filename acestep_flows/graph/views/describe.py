"""A graph as text: its inputs, nodes and outputs in columns."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from acestep_flows.graph.checking.feeds import FedParameter, as_fed, feeds
from acestep_flows.graph.checking.nesting import Find, Nesting
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.language.document import Fields, Items
from acestep_flows.graph.language.syntax import Argument, Graph, NodeSyntax, Reference
from acestep_flows.graph.language.types import Declaration
from acestep_flows.graph.language.wording import between, brief, clip, counted
from acestep_flows.stages.contract import Stage
from acestep_flows.values import MAX_SECONDS

WIDTH = 120
UNBROKEN = "\N{NO-BREAK SPACE}"


def describe(graph: Graph, registry: Mapping[str, type[Stage]], find: Find) -> str:
    """Inputs, those that few need apart, nodes in the order they can run, and outputs, in aligned columns.

    Inputs are shown with the bounds of the stage parameters that they feed, and with the defaults that these keep.
    A graph with problems is described, too.
    """
    scope = Scope(graph, registry, Nesting(find))
    order = list(graph.nodes) if scope.cycles() else scope.order()
    fed: dict[str, list[FedParameter]] = {}
    for feed in feeds(scope):
        fed.setdefault(feed.input, []).append(feed)
    common, advanced = (
        [
            (name, constraints(as_fed(declared, fed.get(name, []))), declared.description)
            for name, declared in graph.inputs.items()
            if declared.advanced is wanted
        ]
        for wanted in (False, True)
    )
    nodes = [(name, graph.nodes[name].target, node_line(graph.nodes[name])) for name in order]
    outputs = [
        (name, str(scope.type_of(argument) or "unknown"), written(argument))
        for name, argument in graph.outputs.entries.items()
    ]
    heading = f"{graph.name}\n{textwrap.fill(graph.summary, WIDTH)}".rstrip()
    parts = [
        heading,
        _table("Inputs", common),
        _table("Advanced inputs", advanced),
        _table("Nodes", nodes),
        _table("Outputs", outputs),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def constraints(declared: Declaration) -> str:
    """Type, range, choices and default of an input: `float, 0 to 1, default 0.5`."""
    parts = [f"list of {_innermost(declared)}" if declared.type.kind == "list" else declared.type.kind]
    parts.append(between(declared.minimum, declared.maximum, declared.unit) or declared.unit)
    parts.append(f"at most {declared.at_most}" if declared.at_most else "")
    parts.append(f"within {declared.within}" if declared.within else "")
    parts.append(f"{declared.lengthens} with it up to {MAX_SECONDS:g} s" if declared.lengthens else "")
    what = "character" if declared.type.kind == "text" else "element"
    limits = between(declared.shortest, declared.longest) if declared.shortest or declared.longest else ""
    parts.append(counted(limits, what) if limits else "")
    parts.append(" | ".join(brief(choice) for choice in declared.choices))
    if declared.fields:
        parts.append("{" + "; ".join(f"{name}: {constraints(inner)}" for name, inner in declared.fields.items()) + "}")
    if not declared.required:
        parts.append("optional" if declared.default is None else f"default {_default(declared.default)}")
    return ", ".join(part for part in parts if part)


def _innermost(declared: Declaration) -> str:
    item = declared.type.item
    return item.kind if item is not None and item.kind == "record" else str(item or "any")


def _default(value: object) -> str:
    if isinstance(value, list):
        return clip("[" + ", ".join(_default(item) for item in value[:20]) + "]", 40)
    return '""' if value == "" else clip(brief(value), 40).replace("\n", " ")


def node_line(node: NodeSyntax) -> str:
    """The arguments of a node on one line."""
    loop = "each" if node.each.entries else "fold"
    parts = [f"{loop} {name} in {written(argument)}:" for name, argument in node.loop.entries.items()]
    parts += [f"{name}={written(argument)}" for name, argument in node.arguments.entries.items()]
    parts += [f"use {', '.join(node.use)}"] if node.use else []
    parts += [f"carry {name} from {written(argument)}" for name, argument in node.carry.entries.items()]
    if node.when is not None:
        parts.append(f"when {node.when}")
    parts += [f"otherwise {name}={written(argument)}" for name, argument in node.otherwise.entries.items()]
    return "  ".join(part.replace(" ", UNBROKEN) for part in parts)


def written(argument: Argument) -> str:
    """An argument as a graph file has it; a long one is cut."""
    if isinstance(argument, Reference):
        return str(argument)
    if isinstance(argument, Items):
        return clip("[" + ", ".join(written(item) for item in argument.items[:20]) + "]")
    if isinstance(argument, Fields):
        return clip("{" + ", ".join(f"{name}: {written(part)}" for name, part in argument.entries.items()) + "}")
    return "null" if argument.value is None else clip(_default(argument.value), 40)


def _table(title: str, rows: Sequence[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    first = max(len(row[0]) for row in rows)
    second = min(max(len(row[1]) for row in rows), 44)
    indent = " " * (2 + first + 2 + second + 2)
    lines = [title]
    for name, kind, text in rows:
        start = f"  {name:<{first}}  {kind:<{second}}  "
        if len(start) > len(indent):  # a long type has a line of its own
            lines.append(start.rstrip())
            if not text:
                continue
            start = indent
        body = textwrap.wrap(text, max(WIDTH - len(indent), 30)) or [""]
        lines += [(start + body[0]).rstrip(), *(indent + line for line in body[1:])]
    return "\n".join(lines).replace(UNBROKEN, " ")
