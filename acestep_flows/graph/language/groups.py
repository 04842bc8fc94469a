"""Groups: files of inputs that several graphs share, and what `use:` makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from acestep_flows.errors import InputError, NotFound
from acestep_flows.graph.language import document
from acestep_flows.graph.language.declare import declare
from acestep_flows.graph.language.document import Fields, Items, Scalar, SourcePosition
from acestep_flows.graph.language.field_reader import FieldReader, fits
from acestep_flows.graph.language.syntax import GRAPH_NAME, Group, Reference
from acestep_flows.graph.language.types import Declaration
from acestep_flows.graph.language.wording import clip, listing, show

GROUP_KEYS = ("group", "version", "summary", "inputs")

FindGroup = Callable[[str], Group]
"""Gives the group of a name; raises NotFound or InputError where there is none."""


def no_groups(name: str) -> Group:
    """For text that comes without a library."""
    raise NotFound(f"no group {clip(name)!r}; allowed: none")


def parse_group(content: str | bytes, file: str) -> Group:
    """Read a group; whatever is wrong with it is in `Group.problems`."""
    root, problems = document.read(content)
    reader = FieldReader(file)
    for problem in problems:
        reader.problem(problem.rule, problem.message, SourcePosition(problem.line, problem.column))
    if not isinstance(root, Fields):
        if not problems:
            reader.problem("not-a-map", f"a group is a map with {listing(GROUP_KEYS)}", SourcePosition(1, 1))
        return Group("", file, problems=tuple(reader.problems))
    return _group(reader, root)


def _group(reader: FieldReader, root: Fields) -> Group:
    reader.known_keys(root, GROUP_KEYS, "a group")
    reader.required_keys(root, ("group", "version", "inputs"), "the group")
    reader.version(root)
    name = reader.text(root, "group") or ""
    if "group" in root.entries and not fits(GRAPH_NAME, name):
        message = f"{clip(name)!r} is no name for a group; allowed: a name as graphs have"
        reader.problem("bad-name", message, root.entries["group"].place)
    section = reader.map(root, "inputs", "")
    for key, place in section.keys.items():
        reader.name(key, place, "input")
    inputs = {
        key: replace(
            declare(reader, key, section.keys[key], node, f"input {clip(key)}"), advanced=True, group=name or "unnamed"
        )
        for key, node in section.entries.items()
    }
    content = {key: _advanced(document.plain(node)) for key, node in section.entries.items()}
    return Group(name, reader.file, reader.text(root, "summary") or "", inputs, content, tuple(reader.problems))


def _advanced(declaration: Any) -> Any:
    return {**declaration, "advanced": True} if isinstance(declaration, Mapping) else declaration


@dataclass(frozen=True)
class UsedGroups:
    """The groups that one graph uses, by name."""

    groups: Mapping[str, Group]
    places: Mapping[str, SourcePosition]

    def inputs(self, own: Mapping[str, Declaration]) -> tuple[dict[str, Declaration], dict[str, Any]]:
        """The inputs that the groups add to the graph's own, and the same as plain data.

        The graph's own declaration of a name counts, then that of the first group.
        """
        added: dict[str, Declaration] = {}
        content: dict[str, Any] = {}
        for name, group in self.groups.items():
            for key, declared in group.inputs.items():
                if key not in own and key not in added:
                    added[key] = replace(declared, place=self.places[name])
                    content[key] = group.content[key]
        return added, content


def read_used(reader: FieldReader, root: Fields, find: FindGroup) -> UsedGroups:
    """The groups under `use:` of a graph. One that cannot be found is a problem, and is left out."""
    groups: dict[str, Group] = {}
    places = read_use(reader, root, "")
    for name, place in places.items():
        try:
            groups[name] = find(name)
        except (NotFound, InputError) as error:
            reader.problem("unknown-group", str(error), place)
            continue
        reader.problems += groups[name].problems
    return UsedGroups(groups, places)


def read_use(reader: FieldReader, node: Fields, label: str) -> dict[str, SourcePosition]:
    """The names under `use:`, with where each stands."""
    use: Any = node.entries.get("use")
    if use is None:
        return {}
    if not isinstance(use, Items):
        reader.problem("use", f"use: takes a list of groups; found {show(document.plain(use))}", use.place, label)
        return {}
    places: dict[str, SourcePosition] = {}
    for item in use.items:
        if isinstance(item, Scalar) and isinstance(item.value, str):
            places[item.value] = item.place
        else:
            message = f"use: takes names of groups; found {show(document.plain(item))}"
            reader.problem("use", message, item.place, label)
    return places


def shared_inputs(reader: FieldReader, node: Fields, used: UsedGroups, label: str) -> tuple[tuple[str, ...], Fields]:
    """The groups under `use:` of a node, and a reference to each of the graph's inputs that belongs to one of them."""
    entries: dict[str, Reference] = {}
    keys: dict[str, SourcePosition] = {}
    places = read_use(reader, node, label)
    for name, place in places.items():
        if name not in used.groups:
            if name not in used.places:  # else the graph's own `use:` has been reported
                allowed = listing(used.groups)
                message = f"the graph does not use group {clip(name)!r}; allowed: {allowed}; add it to the graph's use:"
                reader.problem("use", message, place, label)
            continue
        for key in used.groups[name].inputs:
            entries.setdefault(key, Reference(key, (), place))
            keys.setdefault(key, place)
    return tuple(places), Fields(entries, keys, node.place)
