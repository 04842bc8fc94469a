"""The rules about what a graph means; those about its form are in `language/parse.py` and `language/declare.py`.

A rule is a small function from a `Scope` to the problems it finds. It must never raise, and it stays silent where
another rule's problem hides what it would judge, so that one mistake gives one message. Begin with `RULES` below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from acestep_flows.errors import Problem
from acestep_flows.graph.checking.rules import arguments, inputs, loops, names, structure
from acestep_flows.graph.checking.scope import Scope

Rule = Callable[[Scope], Iterator[Problem]]

RULES: tuple[Rule, ...] = (
    names.targets,
    names.used_twice,
    names.references,
    arguments.missing,
    arguments.extra,
    arguments.use,
    arguments.type_mismatch,
    arguments.out_of_range,
    loops.over_lists,
    loops.known_lengths,
    loops.carried,
    loops.conditions,
    loops.stand_ins,
    loops.stand_ins_missing,
    inputs.related,
    structure.circles,
    structure.unreached_nodes,
    structure.unused_inputs,
)
