"""Rules about what a node is called with: every port bound, none invented, each of its type and in its range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from acestep_flows.errors import InputError, Problem
from acestep_flows.graph.checking.nesting import Unresolved
from acestep_flows.graph.checking.rules.finding import finding
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.checking.signature import NodeInput
from acestep_flows.graph.language.document import Fields, Items, SourcePosition, plain
from acestep_flows.graph.language.syntax import Argument, NodeSyntax, Reference, references_in
from acestep_flows.graph.language.types import accept, literal
from acestep_flows.graph.language.wording import allowed_by, clip, show, unlike
from acestep_flows.stages.contract import Stage
from acestep_flows.stages.ports import PortType
from acestep_flows.values import Value

Mismatch = tuple[str, SourcePosition]


def missing(scope: Scope) -> Iterator[Problem]:
    """Everything that a stage or graph requires is bound."""
    for call in scope.graph.nodes.values():
        signature = scope.signature(call)
        for name, slot in signature.inputs.items() if signature else ():
            if slot.required and name not in call.arguments.entries:
                message = f"{call.kind} {call.target} needs {name} ({slot.type}), which is not given"
                yield finding(scope, "missing-input", message, call.place, call)


def extra(scope: Scope) -> Iterator[Problem]:
    """Nothing is bound that the stage or graph does not take."""
    for call in scope.graph.nodes.values():
        signature = scope.signature(call)
        for name, place in call.arguments.keys.items() if signature else ():
            if signature and name not in signature.inputs:
                message = f"{call.kind} {call.target} has {unlike('input', name, signature.inputs)}"
                yield finding(scope, "extra-input", message, place, call)


def type_mismatch(scope: Scope) -> Iterator[Problem]:
    """What is bound to a port is of the port's type."""
    for call, name, argument, slot in _bound(scope):
        for message, place in mismatches(scope, argument, slot.type, call):
            yield finding(scope, "type-mismatch", f"{name} {message}", place, call)


def out_of_range(scope: Scope) -> Iterator[Problem]:
    """Literals are in the range that the stage or the nested graph declares."""
    for call in scope.graph.nodes.values():
        literals = {
            name: (argument, slot)
            for _, name, argument, slot in _bound(scope, call)
            if not any(references_in(argument)) and not any(mismatches(scope, argument, slot.type, call))
        }
        stage = scope.stage(call)
        if stage is not None:
            yield from _refused_by_stage(scope, call, stage, literals)
            continue
        for name, (argument, slot) in literals.items():
            assert slot.declaration is not None
            try:
                accept(slot.declaration, plain(argument), name, lambda _: 0)
            except InputError as error:
                yield finding(scope, "out-of-range", _unlike_allowed(error, name), argument.place, call)


def _unlike_allowed(error: InputError, name: str) -> str:
    where = error.where or name
    return f"{where} is {error.what}; allowed: {error.allowed}" if error.allowed else f"{where}: {error.what}"


def _refused_by_stage(
    scope: Scope, call: NodeSyntax, stage: type[Stage], literals: dict[str, tuple[Argument, NodeInput]]
) -> Iterator[Problem]:
    fields = stage.Params.model_fields
    params = {name: _settled(argument, slot.type) for name, (argument, slot) in literals.items() if name in fields}
    whole = len(params) == len(fields.keys() & call.arguments.entries.keys())
    for name, fault in param_faults(stage, params, whole).items():
        place = literals[name][0].place if name else call.place
        yield finding(scope, "out-of-range", f"{name} {fault}".strip(), place, call)


def _settled(argument: Argument, kind: PortType) -> Any:
    """A literal as the plan will hold it: a span is written in two ways, parameters know neither."""
    value = plain(argument)
    return value if kind.kind != "span" or value is None else literal(kind, value, "")


def param_faults(stage: type[Stage], params: Mapping[str, Any], whole: bool = False) -> dict[str, str]:
    """What is wrong with the values of some parameters, by name: `is int 0; allowed: 1 to 200`.

    Args:
        whole: these are all the parameters, so that rules over several of them count too (under the name "").
    """
    try:
        stage.Params.model_validate(params)
    except ValidationError as error:
        faults: dict[str, str] = {}
        for each in error.errors(include_url=False, include_context=False):
            name = str(each["loc"][0]) if each["loc"] else ""
            words = clip(each["msg"].removeprefix("Value error, "), 200)
            if name in params:
                port = stage.inputs()[name]
                known = allowed_by(port.schema, port.type)
                fault = f"is {show(params[name])}; allowed: {words if known == str(port.type) else known}"
                faults.setdefault(name, fault)
            elif whole and not name:
                faults.setdefault("", words)
        return faults
    except InputError as error:
        return {"": str(error)} if whole else {}
    return {}


def _bound(scope: Scope, only: NodeSyntax | None = None) -> Iterator[tuple[NodeSyntax, str, Argument, NodeInput]]:
    for call in [only] if only else scope.graph.nodes.values():
        signature = scope.signature(call)
        for name, argument in call.arguments.entries.items() if signature else ():
            if signature and name in signature.inputs:
                yield call, name, argument, signature.inputs[name]


def mismatches(scope: Scope, argument: Argument, kind: PortType, call: NodeSyntax | None) -> Iterator[Mismatch]:
    """Where `argument`, as it stands in `call`, is not of `kind`: both sides in words, and the place."""
    if isinstance(argument, Reference):
        try:
            given = scope.resolve(argument, call, kind).type
        except Unresolved:
            return
        if given is not None and not kind.accepts(given):
            yield f"takes {kind}; {argument} is {given}", argument.place
    elif kind.kind == "any" or (kind.optional and plain_or_none(argument) is None):
        return
    elif isinstance(argument, Items) and kind.kind == "list" and kind.item is not None:
        for item in argument.items:
            yield from mismatches(scope, item, kind.item, call)
    elif isinstance(argument, Fields) and kind.kind == "record":
        yield from _record_mismatches(scope, argument, kind, call)
    elif kind.kind == "span" and any(references_in(argument)):
        yield from _span_mismatches(scope, argument, call)
    elif kind.kind in ("list", "record"):
        yield f"takes {kind}; found {show(argument)}", argument.place
    else:
        yield from _literal_mismatches(argument, kind)


def plain_or_none(argument: Argument) -> Any:
    """A literal as plain data; what holds references counts as something."""
    return True if any(references_in(argument)) else plain(argument)


def _literal_mismatches(argument: Argument, kind: PortType) -> Iterator[Mismatch]:
    value = plain_or_none(argument)
    if kind.kind in Value.kinds and kind.kind != "span":
        yield f"takes {kind}; found {show(argument)}", argument.place
        return
    try:
        literal(kind, value, "")
    except InputError as error:
        yield f"takes {error.allowed or kind}; found {error.what}", argument.place


def _record_mismatches(scope: Scope, argument: Fields, kind: PortType, call: NodeSyntax | None) -> Iterator[Mismatch]:
    fields = dict(kind.fields)
    for name, part in argument.entries.items():
        if name in fields:
            yield from ((f".{name} {text}", place) for text, place in mismatches(scope, part, fields[name], call))
        else:
            yield f"has {unlike('field', name, fields)}", argument.keys[name]


def _span_mismatches(scope: Scope, argument: Argument, call: NodeSyntax | None) -> Iterator[Mismatch]:
    """A span put together from references: its ends are numbers known before the run."""
    ends: list[Argument] = []
    if isinstance(argument, Fields) and set(argument.entries) == {"start", "end"}:
        ends = list(argument.entries.values())
    elif isinstance(argument, Items) and len(argument.items) == 2:
        ends = list(argument.items)
    if not ends:
        yield f"takes [start, end] or {{start: ..., end: ...}}; found {show(argument)}", argument.place
    for end in ends:
        yield from mismatches(scope, end, PortType("float"), call)
