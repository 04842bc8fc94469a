"""Errors and warnings as OpenAI's clients read them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.requests import Request

from acestep_flows.compat.openai.errors import render
from acestep_flows.compat.openai.family import LONGEST_HEADER, header_of
from acestep_flows.compat.refusal import ErrorAnswer

REQUEST = Request({"type": "http"})


@pytest.mark.parametrize(
    ("status", "code", "told", "kind"),
    [
        (422, "invalid_input", 400, "invalid_request_error"),
        (401, "unauthorized", 401, "invalid_request_error"),
        (404, "not_found", 404, "invalid_request_error"),
        (409, "cancelled", 499, "server_error"),
        (413, "too_large", 413, "invalid_request_error"),
        (429, "rate_limited", 429, "invalid_request_error"),
        (500, "stage_failed", 500, "server_error"),
        (503, "overloaded", 503, "server_error"),
        (504, "deadline_exceeded", 504, "server_error"),
        (507, "storage", 500, "server_error"),
    ],
)
def test_an_error_has_the_status_of_openai(status: int, code: str, told: int, kind: str) -> None:
    response = render(REQUEST, ErrorAnswer(status, code, "words", "seed"))
    content = json.loads(bytes(response.body))
    assert response.status_code == told
    error = {"message": "words", "type": kind, "param": "seed", "code": code}
    assert content == {"error": error, "detail": "words"}


@pytest.mark.parametrize(
    ("answer", "again"),
    [
        (ErrorAnswer(504, "deadline_exceeded", "", run="run-1"), False),
        (ErrorAnswer(500, "stage_failed", "", run="run-1"), False),
        (ErrorAnswer(409, "conflict", ""), False),
        (ErrorAnswer(503, "overloaded", "", run="run-1"), True),
        (ErrorAnswer(503, "overloaded", ""), True),
        (ErrorAnswer(500, "internal", ""), True),
    ],
)
def test_what_would_make_another_song_is_not_asked_again(answer: ErrorAnswer, again: bool) -> None:
    response = render(REQUEST, answer)
    content: Any = json.loads(bytes(response.body))
    assert (response.headers.get("x-should-retry") != "false") == again
    assert content.get("run") == answer.run


def test_warnings_fit_into_a_header() -> None:
    assert header_of(["voice='夜\n': none", "b"]) == "voice='\\u591c\\n': none; b"
    assert len(header_of(["a" * 300] * 100)) <= LONGEST_HEADER
    assert header_of([]) == header_of(["a" * LONGEST_HEADER * 2]) == ""
