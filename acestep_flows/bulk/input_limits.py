"""Check the inputs of a row beyond their declared types: find what the stages would refuse.

Laying out a plan finds everything, but takes a third of a millisecond, too long for a million rows. So every input is
checked against the stage parameters that it is bound to, and plans are laid out only for the first 2000 combinations of
inputs other than texts and seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from acestep_flows.bulk.inputs import stand_ins
from acestep_flows.errors import FlowsError
from acestep_flows.graph.checking.feeds import feeds
from acestep_flows.graph.checking.rules.arguments import param_faults
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.planning.layout import lay_out
from acestep_flows.graph.planning.resolve import leaves_default
from acestep_flows.stages.contract import Stage
from acestep_flows.values import canonical_json

MOST_PLANS = 2000
_PLAIN = ("text", "int", "float", "bool")  # a seed may still be random, and its range is that of its type

Refusal = Callable[[Any], str | None]


class InputLimits:
    """Finds what a run of the graph would refuse in inputs that are complete and of their types."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._declared = scope.graph.inputs
        self._refusals: dict[str, list[Refusal]] = {}
        for feed in feeds(scope):
            if feed.sure and self._declared[feed.input].type.kind in _PLAIN:
                self._refusals.setdefault(feed.input, []).append(_refusal(feed.input, feed.stage, feed.param))
        self._varying = [
            name
            for name, declared in self._declared.items()
            if declared.type.kind != "seed" and (declared.type.kind != "text" or declared.choices)
        ]
        self._plans: dict[str, str | None] = {}

    def faults(self, inputs: Mapping[str, Any]) -> Iterator[str]:
        """What is wrong with each input by itself."""
        for name, value in inputs.items():
            for refusal in self._refusals.get(name, ()):
                if fault := refusal(value):
                    yield fault
                    break

    def refused(self, inputs: Mapping[str, Any]) -> str | None:
        """What is wrong with the inputs together; None once `MOST_PLANS` combinations have been checked."""
        key = canonical_json([inputs.get(name) for name in self._varying])
        if key not in self._plans:
            if len(self._plans) >= MOST_PLANS:
                return None
            self._plans[key] = self._laid_out(inputs)
        return self._plans[key]

    def _laid_out(self, inputs: Mapping[str, Any]) -> str | None:
        try:
            lay_out(self._scope, stand_ins(inputs, self._declared), lambda _: 0)
        except FlowsError as error:
            return str(error)
        return None


def _refusal(name: str, stage: type[Stage], param: str) -> Refusal:
    info = stage.Params.model_fields[param]
    annotation: Any = Annotated[info.annotation, info]
    validate = TypeAdapter[Any](annotation).validate_python

    def refusal(value: Any) -> str | None:
        if leaves_default(stage.inputs()[param], value):
            return None
        try:
            validate(value)
        except ValidationError:
            fault = param_faults(stage, {param: value}).get(param)
            return f"{name} {fault}" if fault else None
        return None

    return refusal
