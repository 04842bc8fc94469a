"""Rules about what the declarations of inputs say about each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from acestep_flows.errors import Problem
from acestep_flows.graph.checking.rules.finding import finding
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.language.types import Declaration
from acestep_flows.graph.language.wording import unlike
from acestep_flows.values import MUSIC_KINDS


def related(scope: Scope) -> Iterator[Problem]:
    """`within:` and `lengthens:` name music, `at_most:` a number."""
    inputs = scope.graph.inputs
    music = {name: one for name, one in inputs.items() if set(one.type.value_kinds) & set(MUSIC_KINDS)}
    numbers = {name: one for name, one in inputs.items() if one.type.kind in ("int", "float")}
    for declared in inputs.values():
        yield from _names_one(scope, declared, "within", declared.within, music)
        yield from _names_one(scope, declared, "lengthens", declared.lengthens, music)
        yield from _names_one(scope, declared, "at_most", declared.at_most, numbers)


def _names_one(
    scope: Scope, declared: Declaration, key: str, named: str, allowed: Mapping[str, Declaration]
) -> Iterator[Problem]:
    if not named or (named in allowed and (key != "at_most" or named != declared.name)):
        return

    def message() -> str:
        what = "another input that is a number" if key == "at_most" else "an input of type music, audio or latents"
        others = [name for name in allowed if key != "at_most" or name != declared.name]
        return f"input {declared.name}: {key}: takes {what}; {unlike('such input', named, others)}"

    yield finding(scope, "bad-type", message, declared.place)
