"""What hosts and runners say to each other."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from acestep_flows.errors import FlowsError, InputError, StageError
from acestep_flows.graph.content import Handle
from acestep_flows.runtime.serving import messages


def handle(digest: str) -> Handle:
    return Handle("latents", digest, 3, f"value of {digest}")


def test_content_is_taken_apart_and_put_together() -> None:
    content: dict[str, Any] = {"a": [handle("x"), 3, None], "b": {"c": handle("y"), "d": handle("x")}, "e": "text"}
    parted, tokens = messages.part(content)
    assert tokens == {"x": "value of x", "y": "value of y"}
    assert parted["a"][0].token is None
    joined = messages.join(parted, tuple(tokens), tuple(tokens.values()))
    assert joined == content
    assert joined["b"]["d"].token == "value of x"


def test_content_without_values_stays_as_it_is() -> None:
    assert messages.part({"seed": 3, "list": []}) == ({"seed": 3, "list": []}, {})


class Foreign(Exception):
    """An exception that cannot be read elsewhere."""

    def __reduce__(self) -> Any:
        return _broken, ()


def _broken() -> None:
    raise TypeError("not to be made again")


@pytest.mark.parametrize(
    "error", [InputError("long", where="tags", allowed="short"), StageError("n", "s", ValueError("v"))]
)
def test_errors_that_can_travel_are_left_alone(error: FlowsError) -> None:
    assert messages.portable(error) is error
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))


def test_a_cause_that_cannot_travel_is_told_in_words() -> None:
    error = messages.portable(StageError("", "vocode", Foreign("out of something")))
    assert str(pickle.loads(pickle.dumps(error))) == "vocode: RuntimeError: Foreign: out of something"
