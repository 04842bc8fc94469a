from __future__ import annotations

from typing import Any

import pytest

from acestep_flows.bulk import input_limits
from acestep_flows.bulk.input_limits import InputLimits
from tests.bulk.manifests import scope, written

LOOSE = """
graph: loose
version: 1
inputs:
  tags: {type: text}
  steps: {type: int, default: 10}
  start: {type: float, default: 0}
nodes:
  song: {graph: text2music, with: {tags: $tags, steps: $steps, duration: 2}}
  cut: {stage: trim, with: {audio: $song.audio, span: [$start, 1]}}
outputs: {audio: $cut.audio}
"""


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"tags": "funk", "lyrics": "la"}, None),
        ({"tags": "  "}, "tags"),
        ({"tags": "x" * 10_001}, "10000 characters"),
        ({"tags": "a\x07b"}, "control character"),
        ({"tags": "funk", "lyrics": "x" * 100_001}, "lyrics"),
    ],
)
def test_what_stages_refuse_is_found_in_each_input(inputs: dict[str, Any], words: str | None) -> None:
    faults = list(InputLimits(scope()).faults(inputs))
    assert faults == [] if words is None else words in faults[0]


def test_inputs_are_followed_into_nested_graphs() -> None:
    assert "tags" in next(InputLimits(written(LOOSE)).faults({"tags": " "}))


def test_what_only_the_layout_finds_is_found_for_new_settings() -> None:
    held = InputLimits(written(LOOSE))
    assert held.refused({"tags": "a", "steps": 5}) is None
    assert "steps" in (held.refused({"tags": "a", "steps": 500}) or "")
    assert "start < end" in (held.refused({"tags": "a", "start": 2.0}) or "")
    assert held.refused({"tags": "another", "steps": 500}) == held.refused({"tags": "a", "steps": 500})


def test_layouts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_limits, "MOST_PLANS", 2)
    held = InputLimits(written(LOOSE))
    assert [held.refused({"tags": "a", "steps": steps}) is None for steps in (1, 2, 500)] == [True, True, True]
