"""A table of fields: what a row makes of a value, and that nothing which was sent goes under."""

from __future__ import annotations

from typing import Any

import pytest

from acestep_flows.api.http.model_card import ModelCard
from acestep_flows.compat.fields import Draft, FieldRow, ignored, refused, settle_seeds, settle_words, translate
from acestep_flows.compat.parsing import boolean, integer, number, text
from acestep_flows.compat.refusal import Refusal, answer_of
from acestep_flows.errors import InputError

TABLE = (
    FieldRow("prompt", text(), "tags", aliases=("caption",)),
    FieldRow("steps", integer(1, 200), "steps", required=True),
    FieldRow("scale", number(0, 30), "guidance_scale"),
    FieldRow("bpm", integer(1), lambda draft, value: draft.put("tags", f"{draft.inputs.get('tags')}, {value} bpm")),
    FieldRow("kept", text()),
    ignored("shift", "v1 has no shift", 3.0, parse=number()),
    refused("analysis_only", "false", False, parse=boolean()),
)


def read(**fields: Any) -> Draft:
    return translate(TABLE, {"steps": 3, **fields}, Draft())


def test_an_alias_is_as_good_as_the_name_and_the_name_comes_first() -> None:
    assert read(caption="a").inputs["tags"] == "a"
    assert read(caption="a", prompt="b").inputs["tags"] == "b"
    assert read(caption="a", prompt="").inputs["tags"] == "a"


def test_a_row_may_change_the_draft_or_only_keep_its_value() -> None:
    draft = read(prompt="a", bpm="90", kept="x")
    assert draft.inputs["tags"] == "a, 90 bpm"
    assert draft.values["kept"] == "x"


@pytest.mark.parametrize("value", [3, "3.0", None, ""])
def test_a_default_is_not_told(value: Any) -> None:
    assert read(shift=value).warnings == []


def test_what_changes_nothing_is_told() -> None:
    assert read(shift=2).warnings == ["shift=2: v1 has no shift"]


def test_what_is_refused_is_named_with_what_is_allowed() -> None:
    assert read(analysis_only="false").warnings == []
    with pytest.raises(InputError) as fault:
        read(analysis_only="true")
    assert (fault.value.field, fault.value.allowed) == ("analysis_only", "false")


def test_all_faults_are_told_at_once_with_their_values() -> None:
    with pytest.raises(InputError) as fault:
        translate(TABLE, {"scale": 31, "bpm": "x"}, Draft())
    places = answer_of(fault.value).locations
    assert [(place["loc"][1], place["type"], place["input"]) for place in places] == [
        ("steps", "missing", None),
        ("scale", "value_error", 31),
        ("bpm", "value_error", "x"),
    ]


def test_unknown_fields_are_told_or_refused() -> None:
    assert read(colour="blue").warnings == ["colour=text 'blue': not known here, ignored"]
    with pytest.raises(Refusal, match="colour: no such field"):
        translate(TABLE, {"steps": 3, "colour": "blue"}, Draft(strict=True))


def test_a_fault_of_the_graph_has_the_name_that_the_client_sent() -> None:
    song = read(caption="a", scale=3).song()
    error = song.in_client_words(InputError("3", where="guidance_scale", allowed="less"))
    assert (error.field, error.allowed) == ("scale", "less")
    other = song.in_client_words(InputError("x", where="duration"))
    assert other.field == "duration"


def test_only_what_the_models_config_sets_is_told() -> None:
    model = ModelCard("mine", sampling={"guidance_scale": 3.0, "omega": 10.0})
    draft = translate(TABLE, {"steps": 3, "scale": "7"}, Draft(model=model))
    assert draft.song().warnings == ("scale=7: used; this model's own value is 3",)
    published = ModelCard("published", sampling={"guidance_scale": 15.0})
    assert translate(TABLE, {"steps": 3, "scale": "7"}, Draft(model=published)).song().warnings == ()


def test_tags_are_never_empty() -> None:
    draft = Draft(inputs={"lyrics": "la"})
    settle_words(draft, "prompt", "lyrics")
    assert draft.inputs["tags"] == "song"
    assert draft.warnings
    with pytest.raises(Refusal, match="prompt"):
        settle_words(Draft(), "prompt", "lyrics")


def test_seeds_make_takes() -> None:
    one, several, none = Draft(), Draft(), Draft()
    settle_seeds(one, [4], "seed")
    settle_seeds(several, [4, None], "seed")
    settle_seeds(none, [None], "seed")
    assert (one.graph, one.inputs) == ("text2music", {"seed": 4})
    assert (several.graph, several.inputs) == ("batch-takes", {"seeds": [4, "random"]})
    assert none.inputs == {}
