"""Events as JSON."""

from __future__ import annotations

import json

from acestep_flows.errors import InputError
from acestep_flows.graph.execution.events import Event


def test_only_what_applies_is_told() -> None:
    event = Event("progress", "song", "sample", 12.5, step=0, steps=27)
    assert event.as_json() == {
        "type": "progress", "node": "song", "stage": "sample", "time": 12.5, "step": 0, "steps": 27,
    }  # fmt: skip


def test_an_error_is_its_code_and_message() -> None:
    event = Event("failed", "song", "sample", 1.0, error=InputError("too long", where="span", allowed="30 s"))
    content = json.loads(json.dumps(event.as_json()))
    assert content["error"] == {"code": "invalid_input", "message": "span: too long (allowed: 30 s)"}
