"""The OpenAPI document for generators of clients: they must be able to use every response and every body."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.door import Door, sound

KNOWN = ("application/json", "application/octet-stream", "multipart/form-data")
"""Media types that generators know, beside text. The first that they know is what they take."""


@pytest.fixture(scope="module")
def document(door: Door) -> dict[str, Any]:
    content: dict[str, Any] = door.client.get("/openapi.json").json()
    return content


def contents(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The content of every body, and where it is."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation.get("requestBody", {}).get("content", {})
            for status, answer in operation["responses"].items():
                yield f"{method} {path} {status}", answer.get("content", {})


def test_every_body_has_a_media_type_that_generators_know(document: dict[str, Any]) -> None:
    for where, content in contents(document):
        kinds = list(content)
        assert not any("*" in kind for kind in kinds), where
        assert not kinds or any(kind in KNOWN or kind.startswith("text/") for kind in kinds), (where, kinds)
        for kind, media in content.items():
            assert media.get("schema"), (where, kind)
        if "application/octet-stream" in kinds and "application/json" in kinds:
            assert kinds.index("application/octet-stream") < kinds.index("application/json"), (
                f"{where}: bytes, not JSON"
            )


def test_files_come_as_one_of_the_types_that_are_documented(door: Door, document: dict[str, Any]) -> None:
    run = door.finished()
    documented = document["paths"]["/v1/runs/{id}/outputs/{name}"]["get"]["responses"]["200"]["content"]
    kinds = {output["content_type"] for output in run["outputs"].values()}
    assert kinds <= set(documented)
    assert len(kinds) >= 3
    uploaded = [door.upload(sound(0.1, format=format)).json()["content_type"] for format in ("AIFF", "CAF", "MP3")]
    assert set(uploaded) <= set(document["paths"]["/v1/assets/{id}/content"]["get"]["responses"]["206"]["content"])
    picture = door.client.get("/v1/graphs/text2music/picture.png").headers["content-type"]
    assert picture in document["paths"]["/v1/graphs/{name}/picture.png"]["get"]["responses"]["200"]["content"]


def test_inputs_have_no_bounds_that_say_nothing(door: Door) -> None:
    for graph in door.client.get("/v1/graphs").json()["graphs"]:
        text = json.dumps(door.client.get(graph["url"]).json()["inputs"])
        assert "e+300" not in text
        assert "exclusiveMinimum" not in text


def test_errors_document_their_field(document: dict[str, Any]) -> None:
    assert {"field", "allowed"} <= set(document["components"]["schemas"]["Fault"]["properties"])
    for _, content in contents(document):
        for media in content.values():
            assert "HTTPValidationError" not in json.dumps(media)
