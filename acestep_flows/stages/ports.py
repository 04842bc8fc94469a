"""Port types: what may travel along an edge, derived from the annotations of stages.

The same types describe graph inputs, so the checker, the HTTP schema, the command line and the docs share one source.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from acestep_flows.values import MAX_SEED, Value


@dataclass(frozen=True)
class PortType:
    """The type of a port or graph input.

    Attributes:
        kind: a value kind ("audio", "latents", "span", ...), "text", "int", "float", "bool", "seed", "list",
            "record" or "any".
        item: the element type of a list.
        fields: the named fields of a record.
        optional: None (absent) is accepted.
    """

    kind: str
    item: PortType | None = None
    fields: tuple[tuple[str, PortType], ...] = field(default=())
    optional: bool = False

    def __str__(self) -> str:
        name = self.kind
        if self.kind == "list":
            name = f"list of {self.item or 'any'}"
        elif self.kind == "record":
            name = "record of " + ", ".join(f"{key}: {kind}" for key, kind in self.fields)
        return f"{name} or nothing" if self.optional else name

    def accepts(self, given: PortType) -> bool:
        """Whether an edge may carry `given` into a port of this type (int widens to float, seed to int)."""
        if given.optional and not self.optional:
            return False
        if "any" in (self.kind, given.kind):
            return True
        if self.kind == given.kind == "list":
            return self.item is None or given.item is None or self.item.accepts(given.item)
        if self.kind == given.kind == "record":
            offered = dict(given.fields)
            return all(kind.accepts(offered[name]) if name in offered else kind.optional for name, kind in self.fields)
        widening = {"float": ("int", "seed"), "int": ("seed",), "seed": ("int",)}
        return given.kind == self.kind or given.kind in widening.get(self.kind, ())


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
