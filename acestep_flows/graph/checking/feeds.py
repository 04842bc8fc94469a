"""Which stage parameters an input of a graph is bound to unchanged, through nested graphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from acestep_flows.graph.checking.nesting import Unresolved
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.language.syntax import Reference
from acestep_flows.graph.language.types import Declaration
from acestep_flows.stages.contract import Port, Stage
from acestep_flows.stages.text_params import LONGEST


@dataclass(frozen=True)
class FedParameter:
    """An input of the outermost graph, and a parameter that gets its value.

    Attributes:
        input: the input's name.
        stage, param: the parameter.
        sure: the node runs whatever the inputs are.
    """

    input: str
    stage: type[Stage]
    param: str
    sure: bool

    @property
    def port(self) -> Port:
        """The declaration of the parameter."""
        return self.stage.inputs()[self.param]


def feeds(scope: Scope) -> Iterator[FedParameter]:
    """Every parameter that gets the value of an input. What cannot be resolved is left out."""
    yield from _feeds(scope, {name: name for name in scope.graph.inputs}, sure=True)


def _feeds(scope: Scope, names: Mapping[str, str], *, sure: bool) -> Iterator[FedParameter]:
    """The same for a nested graph, whose inputs `names` are inputs of the outermost graph under other names."""
    for call in scope.graph.nodes.values():
        passed = {
            slot: names[argument.name]
            for slot, argument in call.arguments.entries.items()
            if isinstance(argument, Reference)
            and not argument.path
            and argument.name in names
            and argument.name not in call.variables
        }
        runs = sure and call.when is None
        if call.kind == "graph" and passed:
            try:
                yield from _feeds(scope.nested(call), passed, sure=runs)
            except Unresolved:
                continue
        elif (stage := scope.stage(call)) is not None:
            params = stage.Params.model_fields
            yield from (FedParameter(name, stage, slot, runs) for slot, name in passed.items() if slot in params)


def as_fed(declared: Declaration, fed: list[FedParameter]) -> Declaration:
    """The declaration with the bounds of the parameters that it feeds, and the default that they keep without it."""
    for feed in fed:
        declared = _narrowed(declared, feed.port)
    defaults = {repr(feed.port.schema.get("default")): feed.port.schema.get("default") for feed in fed}
    if declared.default is None and not declared.required and len(defaults) == 1:
        declared = replace(declared, default=next(iter(defaults.values())))
    return declared


def _narrowed(declared: Declaration, port: Port) -> Declaration:
    schemas = [port.schema, *port.schema.get("anyOf", [])]
    limits: dict[str, Any] = {key: value for schema in schemas for key, value in schema.items()}
    if declared.type.kind == "text":
        return replace(declared, longest=_least(declared.longest, limits.get(LONGEST)))
    if declared.type.kind not in ("int", "float"):
        return declared
    minimum = [bound for bound in (declared.minimum, limits.get("minimum")) if bound is not None]
    return replace(
        declared,
        minimum=max(minimum, default=None),
        maximum=_least(declared.maximum, limits.get("maximum")),
    )


def _least(*bounds: Any) -> Any:
    return min((bound for bound in bounds if bound is not None), default=None)
