"""A graph as its file says it, every part with the place where it stands. Nothing here is resolved yet."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from acestep_flows.errors import Problem
from acestep_flows.graph.language.document import NOWHERE, Fields, Items, Scalar, SourcePosition
from acestep_flows.graph.language.types import Declaration

LANGUAGE_VERSION = 1
GRAPH_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
NAME = re.compile(r"[a-z][a-z0-9_]*")
MAX_NAME = 64
REFERENCE = re.compile(rf"\$({NAME.pattern})((\.{NAME.pattern})*)")


@dataclass(frozen=True, slots=True)
class Reference:
    """`$name` or `$name.part`: an input, an element of an `each` or `fold`, or a node.

    Attributes:
        name: the word after the dollar.
        path: the words after the dots.
        place: where it stands.
    """

    name: str
    path: tuple[str, ...] = ()
    place: SourcePosition = NOWHERE

    def __str__(self) -> str:
        return "$" + ".".join((self.name, *self.path))


Argument = Scalar | Reference | Items | Fields
"""What `with:` binds a port to: a literal, a reference, or a list or map of arguments."""


def references_in(argument: Argument) -> Iterator[Reference]:
    """Every reference inside `argument`."""
    if isinstance(argument, Reference):
        yield argument
    elif isinstance(argument, Items):
        for item in argument.items:
            yield from references_in(item)
    elif isinstance(argument, Fields):
        for part in argument.entries.values():
            yield from references_in(part)


@dataclass(frozen=True)
class NodeSyntax:
    """One node of a graph: a stage or another graph, and what it is called with.

    Attributes:
        name: the node's name.
        place: where its name stands.
        kind, target, target_place: `stage: vocode` or `graph: repaint`; the target is empty where neither stands.
        arguments: `with:`.
        use: `use:`, names of groups.
        shared: the graph's inputs of these groups, each under its name. They are bound where the target takes an
            input of that name and `with:` does not bind it.
        each: `each:`, variable to list; the node runs once per element and its outputs become lists.
        fold: `fold:`, variable to list; the node runs for one element after the other.
        carry: `carry:` of a fold, name of an output to its first state.
        when: `when:`, the condition under which the node runs.
        otherwise: `otherwise:`, output name to what stands in for it when the node does not run.
    """

    name: str
    place: SourcePosition
    kind: Literal["stage", "graph"]
    target: str
    target_place: SourcePosition
    arguments: Fields = field(default_factory=Fields)
    use: tuple[str, ...] = ()
    shared: Fields = field(default_factory=Fields)
    each: Fields = field(default_factory=Fields)
    fold: Fields = field(default_factory=Fields)
    carry: Fields = field(default_factory=Fields)
    when: Reference | None = None
    otherwise: Fields = field(default_factory=Fields)

    @property
    def loop(self) -> Fields:
        """The lists this node goes through, by variable."""
        return self.each if self.each.entries else self.fold

    @property
    def variables(self) -> tuple[str, ...]:
        """Names that only this node's `with:` can use."""
        return (*self.loop.entries, *self.carry.entries)

    def outer(self) -> Iterator[Argument]:
        """The arguments in which the node's own variables are not known yet."""
        for fields in (self.each, self.fold, self.carry):
            yield from fields.entries.values()

    def references(self) -> Iterator[Reference]:
        """Every reference of the node, those to its own variables included."""
        for argument in (*self.outer(), *self.arguments.entries.values(), *self.otherwise.entries.values()):
            yield from references_in(argument)
        if self.when is not None:
            yield self.when


@dataclass(frozen=True)
class Group:
    """A file of inputs that several graphs share.

    Attributes:
        name: the `group:` key.
        file: the file as problems name it.
        summary: one or more lines for people.
        inputs: by name, in the order of the file; all are advanced.
        content: each input's declaration as plain data, by name.
        problems: what was wrong with the file.
    """

    name: str
    file: str
    summary: str = ""
    inputs: Mapping[str, Declaration] = field(default_factory=dict)
    content: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Graph:
    """A graph file.

    Attributes:
        name: the `graph:` key.
        file: the file as problems name it.
        path: where the file lies; None for a graph that came as text.
        summary: one or more lines for people.
        inputs, nodes, outputs: by name, in the order of the file. Inputs of the groups in `use:` come last.
        shared: declarations of the inputs that groups gave, as plain data.
        readable: the file is YAML and a map; without this no rule can say anything.
        problems: what was wrong with the file's form (`check` adds what is wrong with its meaning).
        content: the file as plain data, for the digest. A `Scope` holds it with `use:` written out.
        name_place: where the name stands.
    """

    name: str
    file: str
    path: Path | None = None
    summary: str = ""
    inputs: Mapping[str, Declaration] = field(default_factory=dict)
    nodes: Mapping[str, NodeSyntax] = field(default_factory=dict)
    outputs: Fields = field(default_factory=Fields)
    shared: Mapping[str, Any] = field(default_factory=dict)
    readable: bool = True
    problems: tuple[Problem, ...] = ()
    content: Any = None
    name_place: SourcePosition = NOWHERE

    @property
    def is_building_block(self) -> bool:
        """Whether it is for other graphs to use rather than to make songs by itself: its summary says so."""
        return "building block" in self.summary.lower()
