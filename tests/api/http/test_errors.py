"""Error responses: one form, the right status, no folders of the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from acestep_flows import errors
from acestep_flows.api.http.errors import Redactor, error_body, error_response, install, status_of
from acestep_flows.errors import FlowsError, GraphError, InputError, Overloaded, Problem, StageError


def kinds(kind: type[FlowsError] = FlowsError) -> Iterator[type[FlowsError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from kinds(below)


def test_every_error_keeps_its_status_when_only_its_code_is_known() -> None:
    for kind in kinds():
        if kind.__module__ == errors.__name__:
            assert status_of(kind.code) == kind.status
    assert status_of("of another version") == 500


def test_an_error_lists_the_problems_of_a_graph_without_folders() -> None:
    problem = Problem("unknown-stage", "no stage 'x' in /srv/graphs/a.yaml", "/srv/graphs/a.yaml", 3, 4, "n")
    error = error_body(GraphError([problem]), Redactor(["/srv/graphs"]))["error"]
    assert error["problems"] == [
        {
            "rule": "unknown-stage",
            "message": "no stage 'x' in <server>/a.yaml",
            "file": "a.yaml",
            "line": 3,
            "column": 4,
            "node": "n",
        }
    ]
    assert "/srv" not in json.dumps(error)


def test_overload_responses_have_retry_after() -> None:
    assert error_response(Overloaded("full", retry_after=0.2)).headers["retry-after"] == "1"
    assert error_response(Overloaded("full", retry_after=12.3)).headers["retry-after"] == "13"
    assert error_response(errors.Unavailable("locked")).headers["retry-after"] == "5"


def test_the_longest_folder_is_redacted_first(tmp_path: Path) -> None:
    redact = Redactor([tmp_path, tmp_path / "home", "/"])
    assert redact(f"{tmp_path}/home/a and {tmp_path}/b") == "<server>/a and <server>/b"
    assert redact("a/b") == "a/b"
    assert redact.content({"a": [f"{tmp_path}", 3]}) == {"a": ["<server>", 3]}


def raising(error: Exception) -> httpx2.Response:
    app = FastAPI()
    install(app, Redactor(["/srv"]))

    @app.get("/")
    async def route() -> None:
        raise error

    async def ask() -> httpx2.Response:
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://a") as client:
            return await client.get("/")

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InputError("x", where="f"), 422, "invalid_input"),
        (errors.NotFound("x"), 404, "not_found"),
        (errors.Conflict("x"), 409, "conflict"),
        (errors.TooLarge("x"), 413, "too_large"),
        (errors.Unauthorized("x"), 401, "unauthorized"),
        (errors.RateLimited("x"), 429, "rate_limited"),
        (errors.Overloaded("x"), 503, "overloaded"),
        (errors.StorageError("x"), 507, "storage"),
        (errors.Unavailable("x"), 503, "unavailable"),
        (errors.DeadlineExceeded("x"), 504, "deadline_exceeded"),
        (StageError("take", "sample", MemoryError("/srv/x")), 500, "stage_failed"),
        (ValueError("secret /srv/x"), 500, "internal"),
    ],
)
def test_every_error_has_one_form(error: Exception, status: int, code: str) -> None:
    response = raising(error)
    assert response.status_code == status
    body = response.json()["error"]
    assert body["code"] == code
    named = {"field"} if getattr(error, "field", "") else set()
    assert set(body) == {"code", "message", "node"} | named
    assert "/srv" not in response.text
    assert "secret" not in response.text


def test_an_error_names_its_field_and_what_is_allowed() -> None:
    body = raising(InputError("900", where="duration", allowed="0.1 to 240 s, as /srv/limits says")).json()["error"]
    assert (body["field"], body["allowed"]) == ("duration", "0.1 to 240 s, as <server>/limits says")
    assert body["message"] == "duration: 900 (allowed: 0.1 to 240 s, as <server>/limits says)"
    missing = raising(errors.NotFound("no run 'x'", where="after", allowed="an id")).json()["error"]
    assert (missing["message"], missing["field"], missing["allowed"]) == ("after: no run 'x'", "after", "an id")


def test_half_a_character_in_a_message_is_sent_escaped() -> None:
    assert "\\ud800" in raising(InputError("a\ud800b")).json()["error"]["message"]


def test_a_stages_error_names_its_node() -> None:
    assert raising(StageError("take", "sample", ValueError("x"))).json()["error"]["node"] == "take"
