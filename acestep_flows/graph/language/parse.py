"""From a positioned document to a `Graph`: the form of the language. A departure is a problem and stops nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from acestep_flows.errors import Problem
from acestep_flows.graph.language import document
from acestep_flows.graph.language.declare import declare
from acestep_flows.graph.language.document import Fields, Items, Scalar, SourcePosition
from acestep_flows.graph.language.field_reader import FieldReader, fits
from acestep_flows.graph.language.groups import FindGroup, UsedGroups, no_groups, read_used, shared_inputs
from acestep_flows.graph.language.syntax import (
    GRAPH_NAME,
    REFERENCE,
    Argument,
    Graph,
    NodeSyntax,
    Reference,
    references_in,
)
from acestep_flows.graph.language.types import Declaration
from acestep_flows.graph.language.wording import clip, show
from acestep_flows.graph.pauses import pause

GRAPH_KEYS = ("graph", "version", "summary", "use", "inputs", "nodes", "outputs")
NODE_KEYS = ("stage", "graph", "use", "with", "each", "fold", "carry", "when", "otherwise")


def parse(content: str | bytes, file: str = "<text>", path: Path | None = None, groups: FindGroup = no_groups) -> Graph:
    """Read a graph; whatever is wrong with its form is in `Graph.problems`.

    Args:
        file: its name in problems.
        path: where it lies, if it is a file.
        groups: finds the groups under `use:`, as `library.Library.group` does.
    """
    return _graph(document.read(content), file, path, groups)


def parse_plain(content: Any, file: str, groups: FindGroup = no_groups) -> Graph:
    """Read a graph that is plain data: JSON of a request, or the `content` of another graph."""
    return _graph(document.from_plain(content), file, None, groups)


def _graph(read: tuple[document.Node | None, list[Problem]], file: str, path: Path | None, groups: FindGroup) -> Graph:
    root, problems = read
    reader = GraphReader(file)
    for problem in problems:
        reader.problem(problem.rule, problem.message, SourcePosition(problem.line, problem.column))
    if not isinstance(root, Fields):
        if not problems:
            message = f"a graph is a map with {', '.join(GRAPH_KEYS)}; found {show(root and document.plain(root))}"
            reader.problem("not-a-map", message, root.place if root else SourcePosition(1, 1))
        return Graph("", file, path, readable=False, problems=tuple(reader.problems))
    return reader.graph(root, path, groups)


class GraphReader(FieldReader):
    """Reads a graph from one file."""

    def graph(self, root: Fields, path: Path | None, groups: FindGroup) -> Graph:
        self.known_keys(root, GRAPH_KEYS, "a graph")
        self.required_keys(root, ("graph", "version", "nodes", "outputs"), "the graph")
        self.version(root)
        name = self.text(root, "graph")
        name_place = place_of(root, "graph")
        if "graph" in root.entries and name is not None and not fits(GRAPH_NAME, name):
            allowed = "lower-case letters, digits and single hyphens, a letter first, at most 64 characters"
            self.problem("bad-name", f"{clip(name)!r} is no name for a graph; allowed: {allowed}", name_place)
        inputs = self.section(root, "inputs")
        nodes = self.section(root, "nodes")
        outputs = self.section(root, "outputs")
        used = read_used(self, root, groups)
        own = {key: self.input(key, inputs.keys[key], node) for key, node in inputs.entries.items()}
        added, shared = used.inputs(own)
        return Graph(
            name=name or "",
            file=self.file,
            path=path,
            summary=self.text(root, "summary") or "",
            inputs=own | added,
            nodes={key: self.call(key, nodes.keys[key], node, used) for key, node in nodes.entries.items()},
            outputs=self.outputs(outputs),
            shared=shared,
            problems=tuple(self.problems),
            content=document.plain(root),
            name_place=name_place,
        )

    def section(self, root: Fields, key: str) -> Fields:
        """One of the three maps of names, without the names that are none."""
        section = self.map(root, key, "")
        for name, place in section.keys.items():
            self.name(name, place, key.removesuffix("s"))
        return section

    def input(self, name: str, place: SourcePosition, node: document.Node) -> Declaration:
        return declare(self, name, place, node, f"input {clip(name)}")

    def call(self, name: str, place: SourcePosition, node: document.Node, used: UsedGroups) -> NodeSyntax:
        pause()
        label = clip(name)
        if not isinstance(node, Fields):
            message = f"a node is a map with {', '.join(NODE_KEYS)}; found {show(document.plain(node))}"
            self.problem("not-a-map", message, node.place, label)
            return NodeSyntax(name, place, "stage", "", place)
        self.known_keys(node, NODE_KEYS, "a node", label)
        kind, target, target_place = self.target(node, place, label)
        use, shared = shared_inputs(self, node, used, label)
        call = NodeSyntax(
            name, place, kind, target, target_place,
            arguments=self.arguments(node, "with", label),
            use=use,
            shared=shared,
            each=self.arguments(node, "each", label),
            fold=self.arguments(node, "fold", label),
            carry=self.arguments(node, "carry", label),
            when=self.condition(node, label),
            otherwise=self.arguments(node, "otherwise", label),
        )  # fmt: skip
        self.loops(node, call, label)
        return call

    def target(
        self, node: Fields, place: SourcePosition, label: str
    ) -> tuple[Literal["stage", "graph"], str, SourcePosition]:
        targets = [key for key in ("stage", "graph") if key in node.entries]
        if len(targets) != 1:
            actual = "both" if targets else "neither"
            self.problem("node-kind", f"a node has either stage: or graph:; found {actual}", place, label)
            return "stage", "", place
        kind: Literal["stage", "graph"] = "stage" if targets == ["stage"] else "graph"
        target = self.text(node, kind, label)
        if target == "":
            self.problem(
                "node-kind", f"{kind}: is empty; allowed: the name of a {kind}", node.entries[kind].place, label
            )
        return kind, target or "", node.entries[kind].place

    def condition(self, node: Fields, label: str) -> Reference | None:
        if "when" not in node.entries:
            return None
        argument = self.argument(node.entries["when"], label)
        if isinstance(argument, Reference):
            return argument
        actual = show(document.plain(node.entries["when"]))
        self.problem("when", f"when: takes one reference to a bool; found {actual}", argument.place, label)
        return None

    def loops(self, node: Fields, call: NodeSyntax, label: str) -> None:
        """What `each`, `fold`, `carry`, `when` and `otherwise` ask of each other."""
        keys = node.keys
        if "each" in keys and "fold" in keys:
            self.problem(
                "loop", "a node has each: or fold:, not both; nest a graph for the inner one", keys["fold"], label
            )
        if "fold" in keys and not call.carry.entries:
            message = "fold: needs carry:, the outputs that go from one element to the next and their first state"
            self.problem("loop", message, keys["fold"], label)
        if "carry" in keys and "fold" not in keys:
            self.problem("loop", "carry: belongs to fold:, and this node has none", keys["carry"], label)
        if "otherwise" in keys and "when" not in keys:
            self.problem("when", "otherwise: belongs to when:, and this node has none", keys["otherwise"], label)
        for key in ("each", "fold"):
            if key in keys and isinstance(node.entries[key], Fields) and not node.entries[key].entries:
                self.problem("loop", f"{key}: is empty; allowed: {{name: $list}}", keys[key], label)
        for fields in (call.each, call.fold, call.carry):
            for name, place in fields.keys.items():
                self.name(name, place, "variable", label)

    def outputs(self, section: Fields) -> Fields:
        entries = {key: self.argument(node) for key, node in section.entries.items()}
        for node in section.entries.values():
            self.parts(node)
        for name, argument in entries.items():
            if not any(references_in(argument)):
                found = show(document.plain(section.entries[name]))
                self.problem("output", f"output {clip(name)} refers to nothing; found {found}; allowed: $node.port",
                             argument.place)  # fmt: skip
        return Fields(entries, section.keys, section.place)

    def parts(self, node: document.Node) -> None:
        """The maps in an output: their keys become parts of file names."""
        if isinstance(node, Items):
            for item in node.items:
                self.parts(item)
        elif isinstance(node, Fields):
            for key, place in node.keys.items():
                self.name(key, place, "part of an output")
            for part in node.entries.values():
                self.parts(part)

    def arguments(self, node: Fields, key: str, label: str) -> Fields:
        fields = self.map(node, key, label)
        entries = {name: self.argument(value, label) for name, value in fields.entries.items()}
        return Fields(entries, fields.keys, fields.place)

    def argument(self, node: document.Node, label: str = "") -> Argument:
        """The node with its references recognised: `$x` whole, `$$x` is the text `$x`."""
        if isinstance(node, Items):
            return Items(tuple(self.argument(item, label) for item in node.items), node.place)
        if isinstance(node, Fields):
            entries = {key: self.argument(value, label) for key, value in node.entries.items()}
            return Fields(entries, node.keys, node.place)
        if not isinstance(node.value, str) or not node.value.startswith("$"):
            return node
        if node.value.startswith("$$"):
            return Scalar(node.value[1:], node.place)
        match = REFERENCE.fullmatch(node.value)
        if match is None:
            message = (
                f"{clip(node.value)!r} is no reference; allowed: $name, $name.part, or $$ for a text that starts with $"
            )
            self.problem("bad-reference", message, node.place, label)
            return Reference(clip(node.value[1:]), (), node.place)
        return Reference(match[1], tuple(match[2].split(".")[1:]), node.place)


def place_of(fields: Fields, key: str) -> SourcePosition:
    """Where the value of `key` stands, or the map where it is absent."""
    return fields.entries[key].place if key in fields.entries else fields.place
