"""A page can make a form of every shipped graph from its schema alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.library import Library
from acestep_flows.graph.views.form import form_schema, title
from acestep_flows.stages.registry import stages
from acestep_flows.values import MUSIC, Value

jsonschema = pytest.importorskip("jsonschema")

LIBRARY = Library()
KINDS = {"text", "int", "float", "bool", "seed", "span", "list", "record", MUSIC, *Value.kinds}
NUMBERS = {"int", "float"}


def scope_of(name: str) -> Scope:
    return checked(LIBRARY.load(name), stages(), LIBRARY.nested)


def value_schema(part: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value that is not null, as a page finds it."""
    return part["anyOf"][0] if part.get("x-nullable") else part


def parts(place: str, part: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """A part of a schema, and those below it, as a page walks over it."""
    yield place, part
    value = value_schema(part)
    if part["x-kind"] == "list":
        yield from parts(f"{place}[]", value["items"])
    for name, field in value.get("properties", {}).items() if part["x-kind"] == "record" else ():
        yield from parts(f"{place}.{name}", field)


@pytest.mark.parametrize("name", sorted(LIBRARY.graphs()))
def test_every_input_of_a_shipped_graph_can_be_shown(name: str) -> None:
    schema = form_schema(scope_of(name))
    jsonschema.Draft202012Validator.check_schema(schema)
    for field, declared in schema["properties"].items():
        assert declared["x-group"] == ("advanced" if declared.get("x-advanced") else "common"), field
        for place, part in parts(field, declared):
            assert part["x-kind"] in KINDS, place
            is_valid = jsonschema.Draft202012Validator(part).is_valid
            assert is_valid(None) == part.get("x-nullable", False), place
            if not place.endswith("[]"):
                assert part["title"], place
                assert part["description"], place
                assert "default" not in part or is_valid(part["default"]) or part["default"] is None, place
            value = value_schema(part)
            if part["x-kind"] in NUMBERS and "enum" not in value:
                assert part["x-step"] > 0, place
                assert "minimum" in value or place == "oss_steps[]", place  # its stage checks them together
            if part["x-kind"] == "span":
                assert part["x-unit"] == "s", place
            if part["x-kind"] in {"float"} and "second" in part.get("description", "").lower():
                assert part.get("x-unit") == "s", place


def test_hints_of_some_inputs() -> None:
    song = form_schema(scope_of("text2music"))["properties"]
    assert (song["duration"]["x-kind"], song["duration"]["x-step"], song["duration"]["x-unit"]) == ("float", 0.1, "s")
    assert (song["steps"]["x-step"], song["tags"]["x-feeds"], song["lyrics"]["x-feeds"]) == (1, ["tags"], ["lyrics"])
    assert song["adapter"]["x-feeds"] == ["adapter"]
    assert (song["guidance_scale"]["title"], song["guidance_scale"]["x-nullable"]) == ("Guidance scale", True)
    assert song["guidance_scale"]["x-group"] == "advanced"
    assert song["seed"]["x-kind"] == "seed"
    paint = form_schema(scope_of("repaint"))["properties"]
    assert (paint["source"]["x-kind"], paint["span"]["x-within"], paint["sound"]["x-kind"]) == (
        "music",
        "source",
        "audio",
    )
    assert paint["solver"]["x-default-if-null"] == "euler"


def test_titles() -> None:
    assert [title(name) for name in ("seed", "guidance_scale", "LUFS", "")] == ["Seed", "Guidance scale", "LUFS", ""]
