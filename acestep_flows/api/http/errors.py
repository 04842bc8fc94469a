"""Turns every error into a response of one form: `{"error": {"code", "message", "node", "field"?, "allowed"?,
"limit"?, "problems"?}}`.

Messages go to untrusted clients, so folders of the server are removed from them.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from acestep_flows.api.execution.outage_log import OutageLog
from acestep_flows.api.http.refusals import allowed_methods, invalid_request, refusal_body, unreadable_body
from acestep_flows.errors import (
    FlowsError,
    GraphError,
    InputError,
    Overloaded,
    StorageError,
    Unauthorized,
    Unavailable,
    node_of,
)
from acestep_flows.storage import without_login

log = logging.getLogger(__name__)

HIDDEN = "<server>"


class Redactor:
    """Removes the server's folders, and secrets, from texts.

    Args:
        roots: folders and files whose paths clients must not see.
    """

    def __init__(self, roots: Iterable[Path | str] = ()) -> None:
        paths = {str(root) for root in roots} | {str(Path(root).resolve()) for root in roots}
        self._roots = sorted((path for path in paths if len(path) > 1), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """`text` with every root replaced by `<server>`, and without secrets."""
        text = without_login(text)
        for root in self._roots:
            text = text.replace(root, HIDDEN)
        return text

    def content(self, content: Any) -> Any:
        """JSON with the roots removed from all of its texts."""
        if isinstance(content, str):
            return self(content)
        if isinstance(content, Mapping):
            return {name: self.content(part) for name, part in content.items()}
        if isinstance(content, (list, tuple)):
            return [self.content(part) for part in content]
        return content


NO_REDACTION = Redactor()

CODE = "acestep_flows.code"
"""Key in a request's ASGI scope of the error code of its response, for metrics."""


class ErrorResponse(JSONResponse):
    """A response whose body is `{"error": {"code", ...}, ...}`."""

    def __init__(self, body: Mapping[str, Any], status: int, headers: Mapping[str, str] | None = None) -> None:
        self._code = str(body["error"]["code"])
        super().__init__(_encodable(body), status, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[CODE] = self._code
        await super().__call__(scope, receive, send)


def status_of(code: str) -> int:
    """The HTTP status of an error code, as runs store it; 500 for an unknown code."""
    return _statuses().get(code, 500)


def error_body(error: FlowsError, redact: Redactor = NO_REDACTION) -> dict[str, Any]:
    """An error as the body of a response."""
    fault: dict[str, Any] = {"code": error.code, "message": redact(error.public), "node": node_of(error) or None}
    for name in ("field", "allowed", "limit"):
        if text := getattr(error, name, ""):
            fault[name] = redact(text)
    if isinstance(error, InputError) and error.faults:
        fault["faults"] = [
            {"field": redact(one.field), "message": redact(one.public), "allowed": redact(one.allowed)}
            for one in error.faults
        ]
    if isinstance(error, GraphError):
        fault["problems"] = [
            {
                "rule": problem.rule,
                "message": redact(problem.message),
                "file": Path(problem.file).name,
                "line": problem.line,
                "column": problem.column,
                "node": problem.node or None,
            }
            for problem in error.problems
        ]
    return {"error": fault}


def error_response(
    error: FlowsError, redact: Redactor = NO_REDACTION, extra: Mapping[str, Any] | None = None
) -> JSONResponse:
    """The response to an error. `extra` adds fields beside `error` to its body."""
    headers = {}
    if isinstance(error, (Overloaded, Unavailable)):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return ErrorResponse(error_body(error, redact) | dict(extra or {}), error.status, headers)


ErrorForm = Callable[[Request, FlowsError], Response]
"""The response to an error in the form of an interface."""


def refusal_of_middleware(scope: Scope, error: FlowsError) -> Response:
    """The response of a middleware that refuses a request, in the form of the interface that its path belongs to.

    `app.state.error_forms` has the forms of the interfaces that are not ours, by the path they begin at.
    """
    forms: Mapping[str, ErrorForm] = getattr(scope["app"].state, "error_forms", {})
    path = str(scope["path"]).removeprefix(str(scope.get("root_path", "")))
    for root, form in forms.items():
        if path == root or path.startswith(f"{root}/"):
            return form(Request(scope), error)
    return error_response(error)


def install(app: FastAPI, redact: Redactor) -> None:
    """Make `app` respond to every error in this form."""
    outages = OutageLog(log)

    async def flows(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, FlowsError)
        if error.status == 500:
            log.error("%s %s: %s", request.method, request.url.path, error)
        elif isinstance(error, StorageError):
            outages.failed("requests", f"{request.method} {request.url.path}: {error}")
        elif error.public != str(error):
            log.warning("%s %s: %s", request.method, request.url.path, error)
        return error_response(error, redact)

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        if error.status_code == 400:
            return error_response(unreadable_body(error), redact)
        headers = dict(error.headers or {})
        if error.status_code == 405:  # the framework names the methods of one route of the path
            headers["Allow"] = allowed_methods(request)
        return ErrorResponse(refusal_body(request, error), error.status_code, headers)

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return error_response(invalid_request(request, error), redact)

    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        reference = secrets.token_hex(6)
        log.error("%s %s: internal error %s", request.method, request.url.path, reference, exc_info=error)
        message = f"internal error; search the server's log for {reference}"
        return ErrorResponse({"error": {"code": "internal", "message": message, "node": None}}, 500)

    app.add_exception_handler(FlowsError, flows)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unexpected)


def _encodable(content: Any) -> Any:
    """JSON whose texts can be encoded. Lone surrogates, which JSON allows, are escaped."""
    if isinstance(content, str):
        return content.encode("utf-8", "backslashreplace").decode()
    if isinstance(content, Mapping):
        return {_encodable(name): _encodable(part) for name, part in content.items()}
    if isinstance(content, (list, tuple)):
        return [_encodable(part) for part in content]
    return content


def _statuses() -> dict[str, int]:
    statuses: dict[str, int] = {}
    pending: list[type[FlowsError]] = [FlowsError]
    while pending:
        kind = pending.pop()
        statuses[kind.code] = kind.status
        pending += kind.__subclasses__()
    return statuses
