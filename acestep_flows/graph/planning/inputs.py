"""The inputs of one run: checked against the declarations, with defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acestep_flows.errors import InputError
from acestep_flows.graph.language.suggest import unknown_input
from acestep_flows.graph.language.syntax import Graph
from acestep_flows.graph.language.types import Declaration, Draw, accept
from acestep_flows.graph.planning.relations import related
from acestep_flows.graph.planning.seeds import random_seed
from acestep_flows.wording.phrases import allowing

MOST_UNKNOWN = 20
"""Unknown inputs that are told by name."""


def value_faults(declared: Mapping[str, Declaration], inputs: Mapping[str, Any]) -> list[InputError]:
    """What is wrong with each input alone: its type, its range, its choices. Unknown and missing ones do not count."""
    faults = []
    for name, value in inputs.items():
        if name in declared:
            try:
                accept(declared[name], value, name, lambda where: 0)
            except InputError as fault:
                faults.append(fault)
    return faults


def resolve_inputs(graph: Graph, inputs: Mapping[str, Any], draw: Draw = random_seed) -> dict[str, Any]:
    """Every input of `graph` with the value it has in this run.

    Args:
        graph: a graph that checks.
        inputs: plain JSON data by input name; `Value`s where the type is one (audio, latents, ...).
        draw: gives the seed where `random` stands.

    Raises:
        InputError: an input is unknown, missing, of the wrong type, out of range, or does not go with another; with
            several such, all of them.
    """
    unknown = [name for name in inputs if name not in graph.inputs]
    faults = [allowing(_unknown(graph, str(name), inputs[name]), graph.inputs) for name in unknown[:MOST_UNKNOWN]]
    if len(unknown) > MOST_UNKNOWN:
        faults.append(InputError(f"and {len(unknown) - MOST_UNKNOWN} more inputs that it does not have"))
    resolved: dict[str, Any] = {}
    for name, declared in graph.inputs.items():
        if name not in inputs and declared.required:
            faults.append(InputError("missing", where=name, allowed=declared.type.words))
            continue
        try:
            resolved[name] = accept(declared, inputs.get(name, declared.default), name, draw)
        except InputError as fault:
            faults.append(fault)
    if faults:
        raise InputError.of_several(faults)
    return related(graph.inputs, resolved, inputs)


def _unknown(graph: Graph, name: str, value: Any) -> InputError:
    return InputError(unknown_input(name, graph.inputs, value), where=f"graph {graph.name}", field=name)
