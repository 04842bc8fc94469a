"""The parts and arrows of a graph's picture, as Graphviz dot and as Mermaid text. `draw_png` paints them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from acestep_flows.graph.language.document import Fields
from acestep_flows.graph.language.syntax import Graph, NodeSyntax, references_in

Role = Literal["input", "stage", "graph", "output"]

COLOURS: dict[Role, tuple[str, str]] = {
    "input": ("#f4efe4", "#b9a97e"),
    "stage": ("#e4eef8", "#4a7fb5"),
    "graph": ("#efe6f6", "#8a5fb0"),
    "output": ("#e3f3e6", "#4f9a60"),
}
"""Fill and line of a part, by its role."""


@dataclass(frozen=True)
class DrawnBox:
    """One box: its id (unique also between inputs, nodes and outputs), name, small print, role, and what marks it."""

    id: str
    name: str
    note: str
    role: Role
    repeated: bool = False
    conditional: bool = False


@dataclass(frozen=True)
class Arrow:
    """From one part to another; the label names the ports or fields that travel."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True)
class Picture:
    """Everything that is drawn."""

    title: str
    parts: tuple[DrawnBox, ...]
    arrows: tuple[Arrow, ...]


def picture(graph: Graph) -> Picture:
    """What to draw of a graph. References that point nowhere and advanced inputs are left out."""
    parts = [
        DrawnBox(f"in.{name}", name, str(_plain_type(declared.type)), "input")
        for name, declared in graph.inputs.items()
        if not declared.advanced
    ]
    parts += [
        DrawnBox(f"at.{name}", name, _note(node), node.kind, bool(node.loop.entries), node.when is not None)
        for name, node in graph.nodes.items()
    ]
    parts += [DrawnBox(f"out.{name}", name, "", "output") for name in graph.outputs.entries]
    labels: dict[tuple[str, str], list[str]] = {}
    for node in graph.nodes.values():
        _point(graph, labels, node.arguments, f"at.{node.name}", node.variables)
        for fields in (node.each, node.fold, node.carry, node.otherwise):
            _point(graph, labels, fields, f"at.{node.name}", ())
        if node.when is not None:
            _point(graph, labels, Fields({"when": node.when}), f"at.{node.name}", ())
    for name, argument in graph.outputs.entries.items():
        _point(graph, labels, Fields({name: argument}), f"out.{name}", ())
    arrows = tuple(
        Arrow(source, target, ", ".join(name for name in dict.fromkeys(names) if target != f"out.{name}"))
        for (source, target), names in labels.items()
    )
    return Picture(graph.name, tuple(parts), arrows)


def _plain_type(kind: object) -> str:
    return str(kind).removesuffix(" or nothing").partition(" of ")[0] if "record" in str(kind) else str(kind)


def _note(node: NodeSyntax) -> str:
    loop = "each" if node.each.entries else "fold"
    over = f" ({loop} {', '.join(node.loop.entries)})" if node.loop.entries else ""
    return f"{node.target}{over}"


def _point(
    graph: Graph, labels: dict[tuple[str, str], list[str]], fields: Fields, target: str, hidden: tuple[str, ...]
) -> None:
    for argument in fields.entries.values():
        for reference in references_in(argument):
            if reference.name in hidden:
                continue
            if reference.name in graph.nodes:
                names = labels.setdefault((f"at.{reference.name}", target), [])
                names.extend([".".join(reference.path)] if reference.path else [])
            elif reference.name in graph.inputs and not graph.inputs[reference.name].advanced:
                labels.setdefault((f"in.{reference.name}", target), [])


def dot(graph: Graph) -> str:
    """The graph for Graphviz."""
    drawn = picture(graph)
    lines = [
        f"digraph {_quoted(drawn.title)} {{",
        '  rankdir=LR; node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11];',
        '  edge [color="#7d8794", fontname="Helvetica", fontsize=9, fontcolor="#5b6470"];',
    ]
    for part in drawn.parts:
        fill, line = COLOURS[part.role]
        label = f"{part.name}\n{part.note}" if part.note else part.name
        look = "rounded,filled,dashed" if part.conditional else "rounded,filled"
        edges = ", peripheries=2" if part.repeated else ""
        attributes = f'label={_quoted(label)}, fillcolor="{fill}", color="{line}", style="{look}"{edges}'
        lines.append(f"  {_quoted(part.id)} [{attributes}];")
    for arrow in drawn.arrows:
        label = f" [label={_quoted(arrow.label)}]" if arrow.label else ""
        lines.append(f"  {_quoted(arrow.source)} -> {_quoted(arrow.target)}{label};")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def mermaid(graph: Graph) -> str:
    """The graph as a Mermaid flowchart, as Markdown pages show it."""
    drawn = picture(graph)
    ids = {part.id: f"p{i}" for i, part in enumerate(drawn.parts)}
    shapes = {"input": ("([", "])"), "stage": ("[", "]"), "graph": ("[[", "]]"), "output": ("([", "])")}
    lines = ["flowchart LR"]
    for part in drawn.parts:
        left, right = shapes[part.role]
        label = f"<b>{_entity(part.name)}</b>" + (f"<br>{_entity(part.note)}" if part.note else "")
        dashed = ":::maybe" if part.conditional else f":::{part.role}s"
        lines.append(f'  {ids[part.id]}{left}"{label}"{right}{dashed}')
    for arrow in drawn.arrows:
        label = f'|"{_entity(arrow.label)}"|' if arrow.label else ""
        lines.append(f"  {ids[arrow.source]} -->{label} {ids[arrow.target]}")
    lines += [f"  classDef {role}s fill:{fill},stroke:{line},color:#20262e" for role, (fill, line) in COLOURS.items()]
    fill, line = COLOURS["stage"]
    lines.append(f"  classDef maybe fill:{fill},stroke:{line},color:#20262e,stroke-dasharray: 4 3")
    return "\n".join(lines) + "\n"


def _entity(text: str) -> str:
    """Text escaped for Mermaid."""
    return "".join(char if char.isalnum() or char in " ._,()-" else f"#{ord(char)};" for char in text)
