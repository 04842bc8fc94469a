"""The literals of one node, checked while the plan is laid out, so that a run does not check them again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from acestep_flows.errors import InputError
from acestep_flows.graph.checking.rules.arguments import param_faults
from acestep_flows.graph.content import Content
from acestep_flows.graph.language.types import literal
from acestep_flows.graph.library import looks_like_path
from acestep_flows.graph.planning.plan import Binding, Fallback, NodeOutput, outputs_in
from acestep_flows.graph.planning.resolve import leaves_default, resolve
from acestep_flows.stages.contract import Port, Stage, StageParams
from acestep_flows.stages.ports import PortType

_PLAIN = (str, bool, int, float, type(None))
"""Literals without parts: nothing in them refers to a node."""


@dataclass(frozen=True)
class CheckedLiterals:
    """The inputs of one node after a check of their literals.

    Attributes:
        inputs: the bindings, with literals as values of their type.
        params: the stage's parameters, or None when another node computes one of them.
        paths: name and text of each parameter that names a file by its path.
    """

    inputs: dict[str, Binding]
    params: StageParams | None
    paths: tuple[tuple[str, str], ...]


def check_literals(stage: type[Stage], bindings: Mapping[str, Binding], path: str) -> CheckedLiterals:
    """Check the literals among a node's bindings.

    Raises:
        InputError: a literal is not usable, or the stage refuses it.
    """
    ports, fields = stage.inputs(), stage.Params.model_fields
    inputs = {
        name: settle(ports[name].type, binding, f"node {path}, {name}")
        for name, binding in bindings.items()
        if binding is not None or name not in fields or not leaves_default(ports[name], binding)
    }
    paths = tuple(_named_paths(ports, inputs))
    return CheckedLiterals(inputs, _checked_params(stage, inputs, path), paths)


def is_static(binding: Binding) -> bool:
    """Whether the binding is known before the run: it refers to no node."""
    return isinstance(binding, _PLAIN) or next(outputs_in(binding), None) is None


def settle(kind: PortType | None, binding: Binding, where: str) -> Binding:
    """The binding with its literals as values of their type: spans are made, whole numbers become floats where due.

    Raises:
        InputError: a literal is not usable, or a node computes the ends of a span.
    """
    if kind is None or kind.kind not in ("list", "record", "span", "float"):
        return binding
    return kind.map(binding, _settle_leaf, where)


def _settle_leaf(binding: Binding, kind: PortType, where: str) -> Binding:
    if binding is None or isinstance(binding, (NodeOutput, Fallback)):
        return binding
    if kind.kind == "span" and not is_static(binding):
        raise InputError("a span whose ends a node computes", where=where, allowed="ends known before the run")
    return literal(kind, binding, where) if kind.kind in ("span", "float") else binding


def _checked_params(stage: type[Stage], inputs: Mapping[str, Binding], path: str) -> StageParams | None:
    """The parameters of a node, or None when another node computes one of them; the literals are checked either way.

    Raises:
        InputError: the stage refuses a literal.
    """
    fields = stage.Params.model_fields
    params = {name: binding for name, binding in inputs.items() if name in fields}
    literals = {name: binding for name, binding in params.items() if is_static(binding)}
    whole = len(literals) == len(params)
    if whole:
        try:
            return stage.Params.model_validate({name: _as_content(literal) for name, literal in literals.items()})
        except (ValidationError, InputError):
            pass  # described below, in the words of the checker
    for name, fault in param_faults(stage, literals, whole=whole).items():
        raise InputError(f"{name} {fault}".strip(), where=f"node {path}")
    return None


def _as_content(binding: Binding) -> Content:
    return binding if isinstance(binding, _PLAIN) else resolve(binding, {}, {})


def _named_paths(ports: Mapping[str, Port], inputs: Mapping[str, Binding]) -> Iterator[tuple[str, str]]:
    """Parameters that may name a file (JSON Schema format "path") and do it by path; plain names are also allowed."""
    for name, binding in inputs.items():
        may_be_path = isinstance(binding, str) and ports[name].schema.get("format") == "path"
        if may_be_path and (looks_like_path(binding) or binding.startswith(("~", "."))):
            yield name, binding
