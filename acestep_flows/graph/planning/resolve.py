"""From bindings to a call: references become content, and names become ports and parameters of the stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from acestep_flows.errors import InputError
from acestep_flows.graph.content import Content, Handle, Outputs
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.graph.planning.plan import Binding, Fallback, NodeOutput, Plan, PlanNode
from acestep_flows.stages.contract import Port, Stage, StageParams
from acestep_flows.stages.ports import PortType
from acestep_flows.values import Span, Value
from acestep_flows.wording.faults import data_faults

SKIPPED: Outputs = {}
"""The outputs of a skipped node, whose `when` is false: every reference to them is absent."""


def resolve(binding: Binding, results: Mapping[str, Outputs], held: Mapping[int, Handle]) -> Content:
    """The content a binding stands for.

    Args:
        results: outputs by node, of every node that the binding refers to.
        held: handles of the values written into the plan, by `id` of the value.
    """
    if isinstance(binding, NodeOutput):
        outputs = results[binding.node]
        return None if outputs is SKIPPED else outputs[binding.port]
    if isinstance(binding, Fallback):
        options = (resolve(option, results, held) for option in binding.options if present(option, results))
        return next((content for content in options if content is not None), None)
    if isinstance(binding, Span):
        return {"start": binding.start, "end": binding.end}  # a parameter like any number, not bulk
    if isinstance(binding, Value):
        return held[id(binding)]
    if isinstance(binding, Mapping):
        return {name: resolve(part, results, held) for name, part in binding.items()}
    if isinstance(binding, (list, tuple)):
        return [resolve(part, results, held) for part in binding]
    literal: Content = binding
    return literal


def values_in(binding: Binding) -> Iterator[Value]:
    """Every value written into a binding, except spans: these are parameters like any number."""
    if isinstance(binding, Span):
        return
    if isinstance(binding, Value):
        yield binding
    elif isinstance(binding, Fallback):
        yield from values_in(binding.options)
    elif isinstance(binding, Mapping):
        for part in binding.values():
            yield from values_in(part)
    elif isinstance(binding, (list, tuple)):
        for part in binding:
            yield from values_in(part)


def values_of(plan: Plan) -> dict[int, Value]:
    """Every value written into a plan, once, by `id`."""
    bindings = [[node.inputs, node.when] for node in plan.nodes.values()]
    return {id(value): value for value in values_in([bindings, plan.outputs])}


def runs(node: PlanNode, results: Mapping[str, Outputs], held: Mapping[int, Handle]) -> bool:
    """Whether the node runs: no condition is false or absent."""
    conditions = (resolve(condition, results, held) for condition in node.when)
    return all(condition is not None and condition is not False for condition in conditions)


def present(binding: Binding, results: Mapping[str, Outputs]) -> bool:
    """Whether everything the binding refers to belongs to nodes that ran."""
    if isinstance(binding, NodeOutput):
        return results[binding.node] is not SKIPPED
    if isinstance(binding, Fallback):
        return any(present(option, results) for option in binding.options)
    if isinstance(binding, Mapping):
        return all(present(part, results) for part in binding.values())
    if isinstance(binding, (list, tuple)):
        return all(present(part, results) for part in binding)
    return True


def call_of(
    node: PlanNode, stage: type[Stage], results: Mapping[str, Outputs], held: Mapping[int, Handle]
) -> StageCall:
    """The stage call that a node stands for.

    Raises:
        InputError: a parameter that came from another node is out of range, or a required input is absent.
    """
    inputs = _defaults(stage.In).copy()
    params: dict[str, Content] = {}
    ports = stage.inputs()
    for name, binding in node.inputs.items():
        if name in inputs:
            inputs[name] = resolve(binding, results, held)
            if _lacks(ports[name].type, inputs[name]):
                raise InputError("missing: the node that makes it was skipped", where=f"node {node.id}, {name}")
        elif node.params is None:
            content = resolve(binding, results, held)
            if not leaves_default(ports[name], content):
                params[name] = content
    missing = [name for name, content in inputs.items() if content is dataclasses.MISSING]
    if missing:
        raise InputError(f"no {', '.join(missing)}", where=f"node {node.id}", allowed=", ".join(ports))
    return StageCall(stage, inputs, node.params if node.params is not None else _validated(stage, params, node))


def _validated(stage: type[Stage], params: Mapping[str, Content], node: PlanNode) -> StageParams:
    try:
        return stage.Params.model_validate(params)
    except ValidationError as error:
        first = data_faults(error)[0]
        where = f"node {node.id}, {first.where}" if first.where else f"node {node.id}"
        raise InputError(first.what, where=where, allowed=first.allowed) from None


def leaves_default(param: Port, content: Any) -> bool:
    """Whether nothing is given to a parameter that does not take it and has a default, which stays then."""
    return content is None and not param.required and not param.type.optional


@cache
def _defaults(ports: type[Any]) -> dict[str, Any]:
    """The default of each port of `In`; MISSING where a binding is required."""
    return {
        field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        for field in dataclasses.fields(ports)
    }


def _lacks(port: PortType, content: Content) -> bool:
    """Whether something that the port requires is absent."""
    if content is None:
        return not port.optional and port.kind != "any"
    if port.item is not None and isinstance(content, list):
        return any(_lacks(port.item, part) for part in content)
    return False
