"""The inputs and outputs of every stage, for people: the text of `docs/stages.md` and of `acestep-flows stages`.

Everything is made from the declarations, so it cannot be out of date.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping

from acestep_flows.stages.contract import Port, Stage
from acestep_flows.values import canonical_json

HEADING = """# Stages

Graphs consist of these stages. An input without default that is not optional is required. Outputs of other nodes are
passed as references, see [graphs.md](graphs.md). This page is made from the declarations:
`acestep-flows stages --markdown`.
"""


def markdown(stages: Mapping[str, type[Stage]]) -> str:
    """The page about all stages."""
    return "\n".join([HEADING, *(line for stage in stages.values() for line in _section(stage))])


def summary(stage: type[Stage]) -> str:
    """The first line of a stage's documentation."""
    return inspect.cleandoc(stage.__doc__ or "").partition("\n")[0]


def _section(stage: type[Stage]) -> Iterator[str]:
    yield from (f"## {stage.name}", "", inspect.cleandoc(stage.__doc__ or ""), "")
    yield from _table("takes", stage.inputs().values())
    yield from _table("gives", stage.outputs().values())


def _table(title: str, ports: Iterable[Port]) -> Iterator[str]:
    yield from (f"| {title} | type | |", "|---|---|---|")
    for port in ports:
        yield f"| `{port.name}` | {type_name(port)} | {describe(port)} |"
    yield ""


def type_name(port: Port) -> str:
    """A port's type; `describe` says whether it is optional."""
    return str(port.type).replace(" or nothing", "")


def describe(port: Port) -> str:
    """A port's description, bounds, choices and default."""
    return " ".join(filter(None, [port.description, _limits(port)]))


def _limits(port: Port) -> str:
    schemas = [port.schema, *port.schema.get("anyOf", [])]
    limits = {key: value for schema in schemas for key, value in schema.items()}
    low, high = limits.get("minimum", limits.get("exclusiveMinimum")), limits.get("maximum")
    parts = []
    if low is not None or high is not None:
        above = "more than " if "exclusiveMinimum" in limits else ""
        parts.append(f"{above}{low} to {high}" if high is not None else f"{above or 'at least '}{low}")
    if "enum" in limits:
        parts.append(", ".join(f"`{choice}`" for choice in limits["enum"]))
    if not port.required:
        default = port.schema.get("default")
        parts.append("optional" if default is None else f"default `{canonical_json(default)}`")
    return f"({'; '.join(parts)})" if parts else ""
