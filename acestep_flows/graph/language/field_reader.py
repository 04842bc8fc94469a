"""Reads maps, texts and names from a document, and collects the problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from acestep_flows.errors import Problem
from acestep_flows.graph.language import document
from acestep_flows.graph.language.document import Fields, Scalar, SourcePosition
from acestep_flows.graph.language.syntax import LANGUAGE_VERSION, MAX_NAME, NAME
from acestep_flows.graph.language.wording import clip, listing, show, unlike


class FieldReader:
    """Reads parts of one file and collects their problems."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def problem(self, rule: str, message: str, place: SourcePosition, node: str = "") -> None:
        """Add a problem at `place`."""
        self.problems.append(Problem(rule, message, self.file, place.line, place.column, node))

    def name(self, name: str, place: SourcePosition, what: str, node: str = "") -> None:
        """Report a name that has not the form of one; `what` is what it names."""
        if not fits(NAME, name):
            article = "an" if what[0] in "aeiou" else "a"
            allowed = "lower-case letters, digits and underscores, a letter first, at most 64 characters"
            self.problem("bad-name", f"{clip(name)!r} is no name for {article} {what}; allowed: {allowed}", place, node)

    def map(self, parent: Fields, key: str, label: str) -> Fields:
        """The map under `key`; empty where there is none, nothing in it, or something else."""
        node = parent.entries.get(key)
        if isinstance(node, Fields):
            return node
        if node is None or (isinstance(node, Scalar) and node.value is None):
            return Fields()
        self.problem("not-a-map", f"{key}: takes a map; found {show(document.plain(node))}", node.place, label)
        return Fields()

    def text(self, parent: Fields, key: str, label: str = "") -> str | None:
        """The text under `key`; None where there is none, or something else."""
        node: Any = parent.entries.get(key)
        if node is None:
            return None
        if isinstance(node, Scalar) and isinstance(node.value, str):
            return node.value
        self.problem("not-text", f"{key}: takes text; found {show(document.plain(node))}", node.place, label)
        return None

    def version(self, root: Fields) -> None:
        """Report a `version:` that is not the one this language has."""
        node: Any = root.entries.get("version")
        if node is not None and not (isinstance(node, Scalar) and node.value is not True and node.value == 1):
            found = show(document.plain(node))
            self.problem("version", f"version is {found}; allowed: {LANGUAGE_VERSION}", node.place)

    def flag(self, parent: Fields, key: str, what: str) -> bool:
        """Whether `key` is true; false where there is none, or something else."""
        node: Any = parent.entries.get(key)
        if node is None:
            return False
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        message = f"{what}: {key} takes true or false; found {show(document.plain(node))}"
        self.problem("bad-default", message, node.place)
        return False

    def known_keys(self, fields: Fields, allowed: Sequence[str], what: str, label: str = "") -> None:
        """Report keys that are not allowed."""
        for key, place in fields.keys.items():
            if key not in allowed:
                self.problem("unknown-key", f"{what} has {unlike('key', key, allowed)}", place, label)

    def required_keys(self, fields: Fields, required: Sequence[str], what: str) -> None:
        """Report keys that are missing."""
        missing = [key for key in required if key not in fields.keys]
        if missing:
            self.problem("missing-key", f"{what} lacks {listing(missing)}", fields.place)


def fits(pattern: Any, name: str) -> bool:
    """Whether `name` has the form of `pattern` and is not too long."""
    return len(name) <= MAX_NAME and pattern.fullmatch(name) is not None
