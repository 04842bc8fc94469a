"""A graph and its inputs become a plan: nested graphs inlined, `each` and `fold` laid out, static `when` decided."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from acestep_flows.errors import GraphError, InputError, Problem
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.checking.nesting import Find
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.checking.signature import list_of
from acestep_flows.graph.content import leaves
from acestep_flows.graph.language.document import Fields, Items
from acestep_flows.graph.language.syntax import Argument, Graph, NodeSyntax, Reference
from acestep_flows.graph.language.types import Declaration, Draw, accept
from acestep_flows.graph.language.wording import clip
from acestep_flows.graph.pauses import pause
from acestep_flows.graph.planning.binding_parts import field_of, form_of
from acestep_flows.graph.planning.inputs import resolve_inputs
from acestep_flows.graph.planning.literals import check_literals, is_static, settle
from acestep_flows.graph.planning.plan import Binding, Fallback, NodeOutput, Plan, PlanNode, outputs_in
from acestep_flows.graph.planning.plan_size import PlanSize
from acestep_flows.graph.planning.relations import related
from acestep_flows.graph.planning.seeds import SeedRecorder, random_seed
from acestep_flows.stages.advised_warning import AdvisedWarning
from acestep_flows.stages.contract import Stage
from acestep_flows.stages.ports import PortType
from acestep_flows.values import Value

MAX_NODES = 50_000


def plan(
    graph: Graph,
    inputs: Mapping[str, Any],
    *,
    registry: Mapping[str, type[Stage]],
    find: Find,
    draw: Draw = random_seed,
) -> Plan:
    """Check `graph` and lay it out for `inputs`.

    Args:
        graph, registry, find: as for `check.check`.
        inputs: plain JSON data by name, `Value`s for audio, latents and the like. The inputs of an earlier plan give
            the same plan again.
        draw: gives the seed where `random` stands and no `seed` of the graph decides.

    Raises:
        GraphError: the graph has problems.
        InputError: an input is not usable, or what it leads to: a parameter out of range, more than 50 000 nodes.
    """
    return lay_out(checked(graph, registry, find), inputs, draw)


def lay_out(scope: Scope, inputs: Mapping[str, Any], draw: Draw = random_seed, *, most_nodes: int = MAX_NODES) -> Plan:
    """The plan of a graph that `check.checked` has passed. For many rows of inputs, check once and call this for each.

    Args:
        most_nodes: a plan with more is refused, before a loop that would bring them is laid out.

    Raises:
        InputError: as `plan`.
    """
    seeds = SeedRecorder(scope.graph.inputs, inputs, draw)
    resolved = resolve_inputs(scope.graph, {name: value for name, value in inputs.items() if "." not in name}, seeds)
    layout = _Planner(seeds, frozenset(_texts(inputs)), PlanSize(most_nodes), scope.graph.inputs)
    outputs = layout.graph(_Frame(scope, resolved))
    seeds.refuse_unused()
    return Plan(
        graph=scope.graph.name,
        digest=digest(scope),
        inputs=resolved | seeds.below,
        nodes=_leading_to(outputs.values(), layout.nodes),
        outputs=outputs,
        warnings=(*_notes(resolved), *layout.warnings),
    )


def _notes(inputs: Mapping[str, Any]) -> list[str]:
    """What was changed in the values of inputs when their files were read."""
    notes = {
        f"input {name}: {note}": None
        for name, content in inputs.items()
        for value in leaves(content)
        if isinstance(value, Value)
        for note in getattr(value, "notes", ())
    }
    return list(notes)


def digest(scope: Scope) -> str:
    """sha256 over the content of a graph and of every graph nested in it; comments and layout do not count."""
    return scope.digest


@dataclass
class _Frame:
    """One graph being laid out: what its inputs are bound to, and what its nodes have come to so far."""

    scope: Scope
    bound: Mapping[str, Binding]
    path: str = ""
    when: tuple[Binding, ...] = ()
    results: dict[str, Mapping[str, Binding]] = field(default_factory=dict)

    def binding(
        self,
        argument: Argument,
        expected: PortType | None,
        call: NodeSyntax | None = None,
        variables: Mapping[str, Any] = {},
    ) -> Binding:
        """The binding that `argument` stands for."""
        if isinstance(argument, Items):
            item = expected.item if expected else None
            return [self.binding(part, item, call, variables) for part in argument.items]
        if isinstance(argument, Fields):
            kinds = dict(expected.fields) if expected else {}
            parts = argument.entries.items()
            return {name: self.binding(part, kinds.get(name), call, variables) for name, part in parts}
        if not isinstance(argument, Reference):
            return argument.value
        target = self.scope.resolve(argument, call, expected)
        if target.source == "node":
            return self.results[target.name][target.port]
        binding = variables[target.name] if target.source == "variable" else self.bound[target.name]
        where = f"{self.path}{call.name if call else 'outputs'}"
        fields = target.path[:-1] if target.of_music else target.path
        for name in fields:
            binding = field_of(binding, name, argument, where)
        return form_of(binding, target.path[-1], f"node {where}") if target.of_music else binding


class _Planner:
    """Collects the nodes of a plan."""

    def __init__(
        self, seeds: SeedRecorder, user_texts: frozenset[str], size: PlanSize, settable: Collection[str]
    ) -> None:
        self.seeds, self.user_texts, self.size, self.settable = seeds, user_texts, size, settable
        self.nodes: dict[str, PlanNode] = {}
        self.warnings: dict[str, None] = {}

    def graph(self, frame: _Frame) -> dict[str, Binding]:
        """Lay out one graph; its outputs."""
        scope = frame.scope
        for name in scope.order():
            frame.results[name] = self.node(frame, scope.graph.nodes[name])
        return {name: frame.binding(argument, None) for name, argument in scope.graph.outputs.entries.items()}

    def node(self, frame: _Frame, call: NodeSyntax) -> Mapping[str, Binding]:
        """The bindings that references to `call` stand for, by output."""
        if call.when is None:
            return self.loop(frame, call)
        condition = frame.binding(call.when, PortType("bool"))
        kinds = frame.scope.outputs(call) or {}
        others = {name: settle(kinds.get(name), frame.binding(argument, kinds.get(name)), f"{frame.path}{call.name}")
                  for name, argument in call.otherwise.entries.items()}  # fmt: skip
        if is_static(condition) or self._is_there(frame, condition):
            if condition is not None and condition is not False:
                return self.loop(frame, call)
            return {name: others.get(name) for name in kinds}
        bindings = self.loop(replace(frame, when=(*frame.when, condition)), call)
        return {name: self._or(frame, call, binding, name, others) for name, binding in bindings.items()}

    def _is_there(self, frame: _Frame, condition: Binding) -> bool:
        """Whether a node computes the condition and is sure to give a value, so that nothing is left to decide."""
        if not isinstance(condition, NodeOutput) or condition.kind not in Value.kinds:
            return False
        node = self.nodes[condition.node]
        kind = frame.scope.registry[node.stage].outputs()[condition.port].type
        return not kind.optional and set(map(id, node.when)) <= set(map(id, frame.when))

    def _or(
        self, frame: _Frame, call: NodeSyntax, binding: Binding, name: str, others: Mapping[str, Binding]
    ) -> Binding:
        """The output if the node runs, else its stand-in. The output itself must tell whether it ran."""
        if name not in others:
            return binding
        path = f"{frame.path}{call.name}"
        if not any(_below(output.node, path) for output in outputs_in(binding)):
            message = f"output {name} is not computed inside this node, so `otherwise:` cannot be used for it"
            raise GraphError([Problem("when", message, frame.scope.graph.file, *call.place, call.name)])
        return Fallback((binding, others[name]))

    def loop(self, frame: _Frame, call: NodeSyntax) -> Mapping[str, Binding]:
        """Lay out a node, element by element where it has `each` or `fold`."""
        path = f"{frame.path}{call.name}"
        if not call.loop.entries:
            return self.body(frame, call, path, {})
        kinds = frame.scope.outputs(call) or {}
        rows = _side_by_side(frame, call, path)
        self.size.loop(frame.scope, call, len(rows), path)
        if not rows:
            self.warnings[f"node {path}: the list is empty, so nothing runs"] = None
        state = {name: settle(kinds[name], frame.binding(argument, kinds[name]), f"{path}, carry {name}")
                 for name, argument in call.carry.entries.items()}  # fmt: skip
        lists: dict[str, list[Binding]] = {name: [] for name in kinds if name not in state}
        for i, row in enumerate(rows):
            results = self.body(frame, call, f"{path}[{i}]", row | state)
            state = {name: results[name] for name in state}
            for name, elements in lists.items():
                elements.append(results[name])
        return {**lists, **state}

    def body(
        self, frame: _Frame, call: NodeSyntax, path: str, variables: Mapping[str, Binding]
    ) -> Mapping[str, Binding]:
        """Lay out one call of a stage or a nested graph."""
        pause()
        self.size.node(call, path)
        signature = frame.scope.signature(call)
        assert signature is not None
        bindings = {
            name: frame.binding(argument, signature.inputs[name].type, call, variables)
            for name, argument in call.arguments.entries.items()
        }
        self.size.bindings(bindings, path)
        if call.kind == "stage":
            literals = check_literals(frame.scope.registry[call.target], bindings, path)
            for name, file in literals.paths:
                self._refuse_graphs_path(path, name, file)
            if literals.params is not None:
                said = frame.scope.registry[call.target].warnings(literals.params)
                self.warnings |= dict.fromkeys(self._advice(warning, bindings) for warning in said)
            self.nodes[path] = PlanNode(path, call.target, literals.inputs, frame.when, literals.params)
            return {port: NodeOutput(path, port, kind.kind if kind else "") for port, kind in signature.outputs.items()}
        inner = frame.scope.nested(call)
        bound = {
            name: self._bind(declared, bindings, f"{path}.{name}") for name, declared in inner.graph.inputs.items()
        }
        bound = related(inner.graph.inputs, bound, bindings, f"{path}.")
        return self.graph(_Frame(inner, bound, f"{path}.", frame.when))

    def _advice(self, warning: str, inputs: Collection[str]) -> str:
        """A warning of a node with these inputs, without advice that the user of this graph cannot follow."""
        if not isinstance(warning, AdvisedWarning):
            return warning
        follows = warning.parameter in inputs and warning.parameter in self.settable
        return str(warning) if follows else warning.plain

    def _refuse_graphs_path(self, node: str, name: str, file: str) -> None:
        """A path comes from the user, as an input of the run; a graph may have been written by anyone."""
        if file not in self.user_texts:
            raise InputError(
                f"{name} is the path {clip(file)!r}, written in a graph",
                where=f"node {node}",
                allowed="a name in the graph, or a path given as an input of the run",
            )

    def _bind(self, declared: Declaration, bindings: Mapping[str, Binding], where: str) -> Binding:
        """The binding of an input of a nested graph. Literals are checked like the user's inputs."""
        binding = bindings.get(declared.name, declared.default)
        has_default = not declared.required and not declared.type.optional
        if binding is None and has_default:
            binding = declared.default
        if is_static(binding):
            return accept(declared, binding, where, self.seeds)
        if has_default and isinstance(binding, Fallback):  # it may turn out absent
            binding = Fallback((*binding.options, accept(declared, declared.default, where, self.seeds)))
        return settle(declared.type, binding, where)


def _below(node: str, path: str) -> bool:
    """Whether the planned node was laid out for the node at `path`."""
    return node == path or node.startswith((f"{path}.", f"{path}["))


def _side_by_side(frame: _Frame, call: NodeSyntax, path: str) -> list[dict[str, Binding]]:
    """One row of variables per element."""
    lists: dict[str, Any] = {
        name: frame.binding(argument, list_of(None)) for name, argument in call.loop.entries.items()
    }
    for name, elements in lists.items():
        if not isinstance(elements, (list, tuple)):
            raise InputError(f"{name} is not a list known before the run", where=f"node {path}", allowed="a list")
    lengths = {name: len(elements) for name, elements in lists.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InputError(f"lists of different lengths: {listed}", where=f"node {path}", allowed="lists of one length")
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def _texts(content: Any) -> Iterator[str]:
    """Every text in the user's inputs."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping):
        for part in content.values():
            yield from _texts(part)
    elif isinstance(content, (list, tuple)):
        for part in content:
            yield from _texts(part)


def _leading_to(outputs: Iterable[Binding], nodes: Mapping[str, PlanNode]) -> dict[str, PlanNode]:
    """The nodes that the outputs need. Nodes that only an untaken `when` or an unused stand-in needs are left out."""
    queue = [output.node for output in _all_outputs(outputs)]
    needed: set[str] = set()
    while queue:
        name = queue.pop()
        if name not in needed:
            needed.add(name)
            queue.extend(nodes[name].needs())
    return {name: node for name, node in nodes.items() if name in needed}


def _all_outputs(bindings: Iterable[Binding]) -> Iterator[NodeOutput]:
    for binding in bindings:
        yield from outputs_in(binding)
