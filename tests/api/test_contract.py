"""The OpenAPI document against the server: no request causes an internal error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from acestep_flows.api.options import ApiOptions
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import Door, opened, sound

jsonschema = pytest.importorskip("jsonschema")

EXAMPLES = 8
JSON = "application/json"
EXPECTED = {503: "overloaded", 504: "deadline_exceeded"}
"""Expected responses above 499, which tell a client what to do. All others are faults of the server."""

CHECKS = [content_type_conformance, response_schema_conformance, status_code_conformance]


@pytest.fixture(scope="module")
def busy(strict: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server with all permissions."""
    options = ApiOptions(inline_graphs=True, render_seconds=0.2, queued=500)
    root = tmp_path_factory.mktemp("contract")
    with opened(root, strict, options=options, webhook_secret="a secret") as door:
        yield door


@pytest.fixture(scope="module")
def ids(busy: Door) -> dict[str, str]:
    """Ids of an existing run and asset, by the segment of their path."""
    return {"runs": busy.finished()["id"], "assets": busy.upload(sound(0.2)).json()["id"]}


def test_no_request_meets_an_error_of_the_servers_own(busy: Door, ids: dict[str, str]) -> None:
    document = schemathesis.openapi.from_url(f"{busy.url}/openapi.json")
    operations: list[Any] = [result.ok() for result in document.get_all_operations()]  # type: ignore[union-attr]
    assert len(operations) > 15
    for operation in operations:
        for mode in schemathesis.GenerationMode:
            try_out(operation, mode, ids)
            busy.cancel_all()


def try_out(operation: Any, mode: schemathesis.GenerationMode, ids: dict[str, str]) -> None:
    """Send many requests of one operation, half of them with ids and names that exist."""
    group = operation.path.split("/")[2] if "{id}" in operation.path else ""
    names = {"name": "text2music" if "/graphs/" in operation.path else "audio"}

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), existing=st.booleans())
    def requests(case: Any, existing: bool) -> None:
        if existing:
            existing_names = names | ({"id": ids[group]} if group else {})
            case.path_parameters.update(
                {name: existing_names[name] for name in case.path_parameters if name in existing_names}
            )
            if isinstance(case.body, dict) and operation.path == "/v1/runs":
                case.body["graph"] = "text2music"
        hold(case)

    # An operation without parameters has no invalid requests.
    expected_errors = [Unsatisfiable] if mode is schemathesis.GenerationMode.NEGATIVE else []
    with contextlib.suppress(*expected_errors):
        requests()


def hold(case: Any) -> None:
    """Send the request, and validate the response against the document."""
    response = case.call()
    if response.status_code in EXPECTED:
        assert response.json()["error"]["code"] == EXPECTED[response.status_code]
    excluded = [not_a_server_error] if response.status_code in EXPECTED else []
    case.validate_response(response, checks=[*CHECKS, *([] if excluded else [not_a_server_error])])


def example_of(part: dict[str, Any], document: dict[str, Any]) -> bool:
    """Whether a part of the document, or the model it refers to, has an example."""
    if "$ref" in part:
        part = document["components"]["schemas"][part["$ref"].rpartition("/")[2]]
    return "example" in part or bool(part.get("examples"))


def test_the_document_is_complete(busy: Door) -> None:
    document = busy.client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert len({operation["operationId"] for _, _, operation in operations}) == len(operations)
    for path, method, operation in operations:
        assert operation["description"], (path, method)
        success = [status for status in operation["responses"] if status.startswith("2")]
        assert success, (path, method)
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), (path, parameter["name"])
            assert example_of(parameter, document) or example_of(parameter["schema"], document), (path, parameter)
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            assert kind != JSON or example_of(content["schema"], document), (path, method)
        for status in success:
            content = operation["responses"][status].get("content", {})
            assert JSON not in content or example_of(content[JSON]["schema"], document), (path, method, status)
        for status in ("401", "422", "429", "503"):
            assert status in operation["responses"], (path, method, status)
    for name, model in document["components"]["schemas"].items():
        assert model.get("description"), name
        assert "example" not in model, f"{name}: examples are what is validated"
        for example in model.get("examples", ()):
            root = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
            jsonschema.Draft202012Validator(root).validate(example)
