"""Rules about the arguments of a node: all that are required, no unknown ones, each of its type and in its range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from pydantic import ValidationError

from acestep_flows.errors import InputError, Problem
from acestep_flows.graph.checking.nesting import Unresolved
from acestep_flows.graph.checking.rules.finding import finding
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.checking.signature import NodeInput, Signature
from acestep_flows.graph.language.document import Fields, Items, Scalar, SourcePosition, plain
from acestep_flows.graph.language.suggest import unknown_input
from acestep_flows.graph.language.syntax import Argument, NodeSyntax, Reference, references_in
from acestep_flows.graph.language.types import accept, literal
from acestep_flows.graph.language.wording import allowed_by, show, unlike
from acestep_flows.stages.contract import Port, Stage
from acestep_flows.stages.ports import PortType
from acestep_flows.wording.faults import DataFault, data_fault

Mismatch = tuple[str, SourcePosition]


def missing(scope: Scope) -> Iterator[Problem]:
    """Everything that a stage or graph requires is bound."""
    for node in scope.graph.nodes.values():
        signature = scope.signature(node)
        for name, node_input in signature.inputs.items() if signature else ():
            if node_input.required and name not in node.arguments.entries:
                message = f"{node.kind} {node.target} needs {name} ({node_input.type}), which is not given"
                yield finding(scope, "missing-input", message, node.place, node)


def extra(scope: Scope) -> Iterator[Problem]:
    """Nothing is bound that the stage or graph does not take."""
    for node in scope.graph.nodes.values():
        signature = scope.signature(node)
        for name, place in node.arguments.keys.items() if signature else ():
            if signature and name not in signature.inputs:
                yield finding(scope, "extra-input", partial(_no_input, node, name, signature), place, node)


def _no_input(node: NodeSyntax, name: str, signature: Signature) -> str:
    declared = {key: one.declaration for key, one in signature.inputs.items() if one.declaration is not None}
    fault = unknown_input(name, declared) if declared else unlike("input", name, signature.inputs)
    return f"{node.kind} {node.target} has {fault}"


def use(scope: Scope) -> Iterator[Problem]:
    """A node takes something of every group it uses."""
    for node in scope.graph.nodes.values():
        if not node.use or (signature := scope.signature(node)) is None:
            continue
        if node.shared.entries and not node.shared.entries.keys() & signature.inputs.keys():
            message = f"{node.kind} {node.target} takes nothing of {', '.join(node.use)}; allowed: leave use: out"
            yield finding(scope, "use", message, next(iter(node.shared.keys.values())), node)


def type_mismatch(scope: Scope) -> Iterator[Problem]:
    """What is bound to a port is of the port's type."""
    for node, name, argument, node_input in _bound(scope):
        for message, place in mismatches(scope, argument, _wanted(scope, node, argument, node_input), node):
            yield finding(scope, "type-mismatch", f"{name} {message}", place, node)


def _wanted(scope: Scope, node: NodeSyntax, argument: Argument, node_input: NodeInput) -> PortType:
    """The type that an argument must have. Nothing is taken, too, where it leaves a default in place."""
    given = scope.type_of(argument, node, node_input.type)
    return node_input.type_or_nothing if given is not None and given.optional else node_input.type


def out_of_range(scope: Scope) -> Iterator[Problem]:
    """Literals are in the range that the stage or the nested graph declares."""
    for node in scope.graph.nodes.values():
        literals = {
            name: (argument, node_input)
            for _, name, argument, node_input in _bound(scope, node)
            if not any(references_in(argument))
            and not (node_input.has_default and plain(argument) is None)
            and not any(mismatches(scope, argument, node_input.type, node))
        }
        stage = scope.stage(node)
        if stage is not None:
            yield from _stage_refusals(scope, node, stage, literals)
            continue
        for name, (argument, node_input) in literals.items():
            assert node_input.declaration is not None
            try:
                accept(node_input.declaration, plain(argument), name, lambda _: 0)
            except InputError as error:
                yield finding(scope, "out-of-range", _range_message(error, name), argument.place, node)


def _range_message(error: InputError, name: str) -> str:
    where = error.where or name
    return f"{where} is {error.what}; allowed: {error.allowed}" if error.allowed else f"{where}: {error.what}"


def _stage_refusals(
    scope: Scope, node: NodeSyntax, stage: type[Stage], literals: dict[str, tuple[Argument, NodeInput]]
) -> Iterator[Problem]:
    fields = stage.Params.model_fields
    params = {
        name: _param_value(argument, node_input.type)
        for name, (argument, node_input) in literals.items()
        if name in fields
    }
    bound = (name for name in fields.keys() & node.arguments.entries.keys() if not _is_null(node, name))
    whole = len(params) == len(list(bound))
    for name, fault in param_faults(stage, params, whole).items():
        place = literals[name][0].place if name else node.place
        yield finding(scope, "out-of-range", f"{name} {fault}".strip(), place, node)


def _is_null(node: NodeSyntax, name: str) -> bool:
    argument = node.arguments.entries[name]
    return isinstance(argument, Scalar) and argument.value is None


def _param_value(argument: Argument, kind: PortType) -> Any:
    """A literal as the plan holds it. A span can be written in two ways; parameters take a `Span`."""
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
        for detail in error.errors(include_url=False):
            name, found = str(detail["loc"][0]) if detail["loc"] else "", data_fault(detail)
            if name in params:
                faults.setdefault(name, _param_fault(stage.inputs()[name], params[name], found))
            elif whole and not name:
                faults.setdefault("", found.what)
        return faults
    except InputError as error:
        return {"": str(error)} if whole else {}
    return {}


def _param_fault(port: Port, value: Any, found: DataFault) -> str:
    """What is wrong with one parameter, and what it may be: all that its schema says, else what was missed."""
    inside = found.where.removeprefix(port.name).lstrip(".")
    known = allowed_by(port.schema, port.type)
    if inside and found.what == "missing" and not inside.endswith("]"):
        return f"has no {inside}"
    if inside and found.allowed:
        return f"has {found.what} at {inside}; allowed: {found.allowed}"
    if known == port.type.words and found.of_value:
        known = found.allowed or found.what
    return f"is {show(value)}; allowed: {known}"


def _bound(scope: Scope, only: NodeSyntax | None = None) -> Iterator[tuple[NodeSyntax, str, Argument, NodeInput]]:
    for node in [only] if only else scope.graph.nodes.values():
        signature = scope.signature(node)
        for name, argument in node.arguments.entries.items() if signature else ():
            if signature and name in signature.inputs:
                yield node, name, argument, signature.inputs[name]


def mismatches(scope: Scope, argument: Argument, kind: PortType, node: NodeSyntax | None) -> Iterator[Mismatch]:
    """Where `argument`, as it stands in `node`, is not of `kind`: both sides in words, and the place."""
    if isinstance(argument, Reference):
        try:
            actual = scope.resolve(argument, node, kind).type
        except Unresolved:
            return
        if actual is not None and not kind.accepts(actual):
            yield f"takes {kind}; {argument} is {actual}", argument.place
    elif kind.kind == "any" or (kind.optional and plain_or_none(argument) is None):
        return
    elif isinstance(argument, Items) and kind.kind == "list" and kind.item is not None:
        for item in argument.items:
            yield from mismatches(scope, item, kind.item, node)
    elif isinstance(argument, Fields) and kind.kind == "record":
        yield from _record_mismatches(scope, argument, kind, node)
    elif kind.kind == "span" and any(references_in(argument)):
        yield from _span_mismatches(scope, argument, node)
    elif kind.kind in ("list", "record"):
        yield f"takes {kind}; found {show(argument)}", argument.place
    else:
        yield from _literal_mismatches(argument, kind)


def plain_or_none(argument: Argument) -> Any:
    """A literal as plain data; True for an argument that holds references."""
    return True if any(references_in(argument)) else plain(argument)


def _literal_mismatches(argument: Argument, kind: PortType) -> Iterator[Mismatch]:
    value = plain_or_none(argument)
    if kind.value_kinds and kind.kind != "span":
        yield f"takes {kind}; found {show(argument)}", argument.place
        return
    try:
        literal(kind, value, "")
    except InputError as error:
        yield f"takes {error.allowed or kind}; found {error.what}", argument.place


def _record_mismatches(scope: Scope, argument: Fields, kind: PortType, node: NodeSyntax | None) -> Iterator[Mismatch]:
    fields = dict(kind.fields)
    for name, part in argument.entries.items():
        if name in fields:
            yield from ((f".{name} {text}", place) for text, place in mismatches(scope, part, fields[name], node))
        else:
            yield f"has {unlike('field', name, fields)}", argument.keys[name]


def _span_mismatches(scope: Scope, argument: Argument, node: NodeSyntax | None) -> Iterator[Mismatch]:
    """Faults of a span made of references: it has two ends, and both are numbers."""
    ends: list[Argument] = []
    if isinstance(argument, Fields) and set(argument.entries) == {"start", "end"}:
        ends = list(argument.entries.values())
    elif isinstance(argument, Items) and len(argument.items) == 2:
        ends = list(argument.items)
    if not ends:
        yield f"takes [start, end] or {{start: ..., end: ...}}; found {show(argument)}", argument.place
    for end in ends:
        yield from mismatches(scope, end, PortType("float"), node)
