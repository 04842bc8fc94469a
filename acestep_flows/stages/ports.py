"""Port types: what may travel along an edge, derived from the annotations of stages.

The same types describe graph inputs, so the checker, the HTTP schema, the command line and the docs share one source.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, Field

from acestep_flows.values import MAX_SEED, MUSIC, MUSIC_KINDS, Value

NOT_FROM_FILES = ("span", "report")
"""Value kinds that are written as JSON where they are inputs."""


_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "seed": "a whole number, or random",
    "span": "start and end in seconds",
    "music": "audio or latents",
    "any": "anything",
}
_PLURALS = {"text": "texts", "int": "whole numbers", "float": "numbers", "seed": "seeds", "span": "spans"}
"""Kinds of ports in words, one and several; a kind that is not here is its own word."""


@dataclass(frozen=True)
class PortType:
    """The type of a port or graph input, and the one walk over content of that type.

    Attributes:
        kind: a value kind ("audio", "latents", "span", ...), "music" (audio or latents), "text", "int", "float",
            "bool", "seed", "list", "record" or "any".
        item: the element type of a list.
        fields: the named fields of a record.
        optional: None (absent) is accepted.
    """

    kind: str
    item: PortType | None = None
    fields: tuple[tuple[str, PortType], ...] = field(default=())
    optional: bool = False

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Computed once: the hash of a record goes through all its fields."""
        return hash((self.kind, self.item, self.fields, self.optional))

    def __str__(self) -> str:
        name = self.kind
        if self.kind == "list":
            name = f"list of {self.item or 'any'}"
        elif self.kind == "record":
            name = "record of " + ", ".join(f"{key}: {kind}" for key, kind in self.fields)
        return f"{name} or nothing" if self.optional else name

    @property
    def words(self) -> str:
        """The type in the words of a message to a user: `a whole number`, `a list of texts`."""
        if self.kind == "list":
            return f"a list of {self.item._several if self.item is not None else 'anything'}"
        if self.kind == "record":
            return f"a map with {', '.join(name for name, _ in self.fields)}"
        return _WORDS.get(self.kind, self.kind)

    @property
    def _several(self) -> str:
        """Several of this type in words: `whole numbers`, `maps with gain, pan`."""
        if self.kind in ("list", "record"):
            noun = "list" if self.kind == "list" else "map"
            return f"{noun}s{self.words.removeprefix(f'a {noun}')}"
        return _PLURALS.get(self.kind, self.kind)

    def accepts(self, offered: PortType) -> bool:
        """Whether an edge may carry `offered` into a port of this type (int widens to float, seed to int)."""
        if offered.optional and not self.optional:
            return False
        if "any" in (self.kind, offered.kind):
            return True
        if self.kind == offered.kind == "list":
            return self.item is None or offered.item is None or self.item.accepts(offered.item)
        if self.kind == offered.kind == "record":
            offered_fields = offered.parts
            return all(
                kind.accepts(offered_fields[name]) if name in offered_fields else kind.optional
                for name, kind in self.fields
            )
        widening = {"float": ("int", "seed"), "int": ("seed",), "seed": ("int",)}
        return offered.kind in (self.kind, *self.value_kinds, *widening.get(self.kind, ()))

    @property
    def value_kinds(self) -> tuple[str, ...]:
        """The kinds of the values of this type: its own, for music audio and latents; none for plain data."""
        if self.kind == MUSIC:
            return MUSIC_KINDS
        return (self.kind,) if self.kind in Value.kinds else ()

    @property
    def is_file(self) -> bool:
        """Whether an input of this type names a file: audio, latents and the like."""
        return bool(self.value_kinds) and self.kind not in NOT_FROM_FILES

    @cached_property
    def parts(self) -> Mapping[str, PortType]:
        """What a reference may name after a dot: the fields of a record; of music the audio or the latents it is."""
        if self.kind == MUSIC:
            return {kind: PortType(kind, optional=True) for kind in self.value_kinds}
        return dict(self.fields)

    def map(self, content: Any, leaf: Leaf, where: str = "") -> Any:
        """`content` with every leaf replaced by what `leaf` returns for it.

        A list maps its items and a record its fields; everything else is a leaf, also content that is not of this type
        (a text where a list is wanted). Fields that the record does not have stay as they are.

        Args:
            content: JSON, values, or whatever stands in their place.
            leaf: called with the leaf, its type, and where it is.
            where: the name of `content` in errors; `[3]` or `.field` is added on the way down.
        """
        if self.kind == "list" and self.item is not None and isinstance(content, (list, tuple)):
            return [self.item.map(part, leaf, f"{where}[{i}]") for i, part in enumerate(content)]
        if self.kind == "record" and isinstance(content, Mapping):
            types = self.parts
            return {
                name: types[name].map(part, leaf, f"{where}.{name}" if where else name) if name in types else part
                for name, part in content.items()
            }
        return leaf(content, self, where)

    def map_files(self, content: Any, leaf: Leaf, where: str = "") -> Any:
        """As `map`, with `leaf` called only where the type wants a file and one is given."""

        def file_leaf(part: Any, kind: PortType, path: str) -> Any:
            if not kind.is_file or (part is None and kind.optional):
                return part
            return leaf(part, kind, path)

        return self.map(content, file_leaf, where)

    def leaves(self, content: Any, where: str = "") -> list[tuple[Any, PortType, str]]:
        """Every leaf of `content` with its type and where it is, in order."""
        leaves: list[tuple[Any, PortType, str]] = []
        self.map(content, lambda *leaf: leaves.append(leaf), where)
        return leaves


Leaf: TypeAlias = Callable[[Any, PortType, str], Any]
"""What to put in place of a leaf, from the leaf, its type, and its path (`takes[2].song`)."""


Seed = Annotated[int, Field(ge=0, le=MAX_SEED), PortType("seed")]
"""A seed as a stage parameter: 0 .. 2^32-1."""

_SCALARS = {str: "text", int: "int", float: "float", bool: "bool"}


def port_type(annotation: Any) -> PortType:
    """The port type of a field annotation of a stage's In, Params or Out.

    Raises:
        TypeError: the annotation is none that a port can have (a mistake in the stage, not in a graph).
    """
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        marked = [mark for mark in args[1:] if isinstance(mark, PortType)]
        return marked[0] if marked else port_type(args[0])
    if origin in (typing.Union, types.UnionType):
        rest = [arg for arg in args if arg is not type(None)]
        kinds = {port_type(arg) for arg in rest}
        if kinds == {PortType(kind) for kind in MUSIC_KINDS}:
            kinds = {PortType(MUSIC)}
        kind = kinds.pop() if len(kinds) == 1 else PortType("any")
        return PortType(kind.kind, kind.item, kind.fields, optional=type(None) in args)
    if origin is Literal:
        return port_type(type(args[0]))
    if origin in (list, tuple, Sequence) or origin is typing.get_origin(Sequence[int]):
        return PortType("list", port_type(args[0]))
    if annotation is Any:
        return PortType("any")
    if annotation in _SCALARS:
        return PortType(_SCALARS[annotation])
    if isinstance(annotation, type) and issubclass(annotation, Value) and annotation.kind:
        return PortType(annotation.kind)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        hints = typing.get_type_hints(annotation, include_extras=True)
        return PortType(
            "record",
            fields=tuple(
                (name, port_type(hints[name] if info.is_required() else hints[name] | None))
                for name, info in annotation.model_fields.items()
            ),
        )
    raise TypeError(f"no port type for {annotation!r}")
