"""Legs of a plan: the parts that one process after the other runs.

    encoders [prompt, words]  ->  sampler [noise, take]  ->  decoder [mel, song]

What is left of a plan after a leg is a plan again, with the computed values written into it where they are needed.
A graph that goes back and forth between processes has more legs; in a pool of one process there is one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from acestep_flows.graph.planning.plan import Binding, Fallback, NodeOutput, Plan, PlanNode, outputs_in

Homes = Mapping[str, str]
"""Name of the process by stage."""

LegOutputs = Mapping[NodeOutput, Any]
"""Values by output. Those of a skipped node are absent."""


def only(plan: Plan, names: Collection[str]) -> Plan:
    """The plan without the outputs that are not in `names`, and without the nodes that only those need."""
    outputs = {name: binding for name, binding in plan.outputs.items() if name in names}
    needed: set[str] = set()
    queue = [output.node for output in outputs_in(outputs)]
    while queue:
        id = queue.pop()
        if id not in needed:
            needed.add(id)
            queue.extend(plan.nodes[id].needs())
    return replace(plan, nodes={id: node for id, node in plan.nodes.items() if id in needed}, outputs=outputs)


def within(plan: Plan, process: str, homes: Homes) -> Plan | None:
    """The part that `process` can run now, as a plan whose outputs are those that the rest needs; None: nothing."""
    chosen = _reach(plan.nodes, plan.nodes.keys(), process, homes)
    if not chosen:
        return None
    rest = [[node.inputs, node.when] for id, node in plan.nodes.items() if id not in chosen]
    wanted = {output for output in outputs_in([rest, plan.outputs]) if output.node in chosen}
    return replace(
        plan,
        nodes={id: node for id, node in plan.nodes.items() if id in chosen},
        outputs={name_of(output): output for output in sorted(wanted, key=name_of)},
    )


def name_of(output: NodeOutput) -> str:
    """The name of an output between legs."""
    return f"{output.node}:{output.port}"


def advance(plan: Plan, leg: Plan, outputs: LegOutputs) -> Plan:
    """The plan that is left after a leg.

    Args:
        outputs: outputs of the leg's nodes, those of untaken nodes left out.
    """
    over = leg.nodes.keys()
    nodes = {
        id: replace(node, inputs=_filled(node.inputs, over, outputs), when=_filled(node.when, over, outputs))
        for id, node in plan.nodes.items()
        if id not in over
    }
    return replace(plan, nodes=nodes, outputs=_filled(plan.outputs, over, outputs))


def legs_of(plan: Plan, homes: Homes) -> tuple[str, ...]:
    """The processes that a plan goes through, in order, the same one as often as it comes back to it."""
    left = dict(plan.nodes)
    legs: list[str] = []
    while left:
        reach = {process: _reach(left, left.keys(), process, homes) for process in _homes(left.values(), homes)}
        able = {process: ids for process, ids in reach.items() if ids}
        # Prefer a process that can run all its nodes that are left: it need not come again.
        whole = [name for name, ids in able.items() if all(homes[n.stage] != name or i in ids for i, n in left.items())]
        chosen = (whole or list(able))[0]
        legs.append(chosen)
        for id in able[chosen]:
            del left[id]
    return tuple(legs)


def merged(ways: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """One way that contains every given way, in its order. Rows with nothing to do on a leg pass through it."""
    whole: tuple[str, ...] = ()
    for way in sorted(set(map(tuple, ways)), key=lambda way: (-len(way), way)):
        whole = _both(whole, way)
    return whole


def _both(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """The shortest way that contains both."""
    ends: dict[tuple[int, int], tuple[str, ...]] = {}
    for i in range(len(one), -1, -1):
        for j in range(len(other), -1, -1):
            if i == len(one) or j == len(other):
                ends[i, j] = one[i:] + other[j:]
            elif one[i] == other[j]:
                ends[i, j] = (one[i], *ends[i + 1, j + 1])
            else:
                ends[i, j] = min((one[i], *ends[i + 1, j]), (other[j], *ends[i, j + 1]), key=len)
    return ends[0, 0]


def _homes(nodes: Iterable[PlanNode], homes: Homes) -> list[str]:
    return list(dict.fromkeys(homes[node.stage] for node in nodes))


def _reach(nodes: Mapping[str, PlanNode], left: Collection[str], process: str, homes: Homes) -> set[str]:
    """Nodes of the process that need nothing but one another; plans are in an order in which they can run."""
    chosen: set[str] = set()
    for id, node in nodes.items():
        if homes[node.stage] == process and all(need in chosen or need not in left for need in node.needs()):
            chosen.add(id)
    return chosen


def _filled(binding: Binding, over: Collection[str], outputs: LegOutputs) -> Binding:
    """The binding with known values written in; what will never exist is absent, as in `resolve.resolve`."""
    if isinstance(binding, NodeOutput):
        return outputs.get(binding) if binding.node in over else binding
    if isinstance(binding, Fallback):
        return _fallback(
            [_filled(option, over, outputs) for option in binding.options if _present(option, over, outputs)]
        )
    if isinstance(binding, Mapping):
        return {name: _filled(part, over, outputs) for name, part in binding.items()}
    if isinstance(binding, (list, tuple)):
        return type(binding)(_filled(part, over, outputs) for part in binding)
    return binding


def _fallback(options: Sequence[Binding]) -> Binding:
    """The options that are left, up to the first that is certain to be present."""
    left: list[Binding] = []
    for option in options:
        if option is None:
            continue
        left.append(option)
        if not any(True for _ in outputs_in(option)):
            break
    if len(left) == 1 and not any(True for _ in outputs_in(left[0])):
        return left[0]
    return Fallback((*left, None)) if left else None


def _present(binding: Binding, over: Collection[str], outputs: LegOutputs) -> bool:
    """Whether the binding may still be present: it refers to no skipped node."""
    if isinstance(binding, NodeOutput):
        return binding.node not in over or binding in outputs
    if isinstance(binding, Fallback):
        return any(_present(option, over, outputs) for option in binding.options)
    if isinstance(binding, Mapping):
        return all(_present(part, over, outputs) for part in binding.values())
    if isinstance(binding, (list, tuple)):
        return all(_present(part, over, outputs) for part in binding)
    return True
