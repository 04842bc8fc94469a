"""Rules about what the declarations of inputs say about each other."""

from __future__ import annotations

from collections.abc import Iterator

from acestep_flows.errors import Problem
from acestep_flows.graph.checking.rules.finding import finding
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.language.types import Declaration
from acestep_flows.graph.language.wording import unlike
from acestep_flows.values import MUSIC_KINDS


def related(scope: Scope) -> Iterator[Problem]:
    """`within:` names music, `at_most:` a number."""
    inputs = scope.graph.inputs
    music = [name for name, declared in inputs.items() if set(declared.type.value_kinds) & set(MUSIC_KINDS)]
    for name, declared in inputs.items():
        numbers = [other for other, one in inputs.items() if one.type.kind in ("int", "float") and other != name]
        yield from _names_one(scope, declared, "within", declared.within, music)
        yield from _names_one(scope, declared, "at_most", declared.at_most, numbers)


def _names_one(scope: Scope, declared: Declaration, key: str, named: str, allowed: list[str]) -> Iterator[Problem]:
    if named and named not in allowed:
        what = "an input of type music, audio or latents" if key == "within" else "another input that is a number"
        message = f"input {declared.name}: {key}: takes {what}; {unlike('such input', named, allowed)}"
        yield finding(scope, "bad-type", message, declared.place)
