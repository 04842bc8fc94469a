"""What a node takes and gives, and what a reference points at: the answers that a `Scope` gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from acestep_flows.graph.checking.nesting import Unresolved
from acestep_flows.graph.language.syntax import Reference
from acestep_flows.graph.language.types import Declaration
from acestep_flows.graph.language.wording import listing
from acestep_flows.stages.contract import Port
from acestep_flows.stages.ports import PortType


@dataclass(frozen=True)
class NodeInput:
    """Something a node takes: a stage's port or parameter, or an input of a nested graph.

    Attributes:
        has_default: nothing may be given, and leaves the default in place.
    """

    type: PortType
    required: bool
    has_default: bool = False
    port: Port | None = None
    declaration: Declaration | None = None

    @property
    def type_or_nothing(self) -> PortType:
        """The type of what may be given, nothing included where there is a default to stay."""
        return replace(self.type, optional=True) if self.has_default else self.type


@dataclass(frozen=True)
class Signature:
    """What a node takes and gives; an output of unknown type is None."""

    inputs: Mapping[str, NodeInput]
    outputs: Mapping[str, PortType | None]


@dataclass(frozen=True)
class Target:
    """What a reference points at.

    Attributes:
        source: "input" of the graph, "variable" of the node, or "node".
        name: its name.
        port: the output, where the source is a node.
        path: the fields to take from a record.
        of_music: the last word of the path is no field, but the form that music must have to be there.
        type: what arrives; None where an earlier problem hides it.
    """

    source: str
    name: str
    type: PortType | None
    port: str = ""
    path: tuple[str, ...] = ()
    of_music: bool = False

    @property
    def present(self) -> Target:
        """The same where it is known not to be absent."""
        return self if self.type is None else replace(self, type=replace(self.type, optional=False))


def list_of(kind: PortType | None) -> PortType:
    """A list of `kind`; None is a list of anything."""
    return PortType("list", kind)


def only_output(reference: Reference, outputs: Mapping[str, PortType | None], expected: PortType | None) -> str:
    """The output that `$node` means: the only one, or the only one of the port's type."""
    fitting = list(outputs)
    if len(fitting) > 1 and expected is not None:
        for fits in (lambda kind: kind.kind == expected.kind, expected.accepts):
            fitting = [name for name, kind in outputs.items() if kind is not None and fits(kind)]
            if fitting:
                break
    if len(fitting) == 1:
        return fitting[0]
    options = listing(f"${reference.name}.{port} ({kind or 'any'})" for port, kind in outputs.items())
    what = f"{len(fitting)} outputs" if fitting else "no output"
    of_type = f" of type {expected}" if expected is not None else ""
    raise Unresolved(
        "ambiguous-reference", f"{reference}: node {reference.name} has {what}{of_type}; allowed: {options}"
    )


def literal_type(value: Any) -> PortType:
    """The type of a scalar written in a file."""
    if value is None:
        return PortType("any", optional=True)
    names = {bool: "bool", int: "int", float: "float", str: "text"}
    return PortType(names.get(type(value), "any"))
