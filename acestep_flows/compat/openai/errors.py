"""Errors in the form of OpenAI."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response

from acestep_flows.compat.refusal import ErrorAnswer
from acestep_flows.errors import Cancelled, Conflict

CLIENT_CLOSED = 499
STATUS = {422: 400, 507: 500}
"""Statuses of OpenAI where it has others than we."""

NO_RETRY = {"x-should-retry": "false"}
"""OpenAI's clients read it. They would send a request again that another song would be made for."""


def status_of(error: ErrorAnswer) -> int:
    """The status of an error."""
    return CLIENT_CLOSED if error.code == Cancelled.code else STATUS.get(error.status, error.status)


def error_content(error: ErrorAnswer) -> dict[str, Any]:
    """An error, with its text under the names that clients read."""
    kind = "invalid_request_error" if status_of(error) < CLIENT_CLOSED else "server_error"
    told = {"message": error.message, "type": kind, "param": error.field or None, "code": error.code}
    return {"error": told, "detail": error.message} | ({"run": error.run} if error.run else {})


def render(request: Request, error: ErrorAnswer) -> Response:
    """The response to an error."""
    headers = dict(error.headers)
    if error.code == Conflict.code or (error.run and error.status != 503):
        headers |= NO_RETRY
    return JSONResponse(error_content(error), status_of(error), headers)
