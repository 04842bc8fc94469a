"""Every error as one form of answer: `{"error": {"code", "message", "node", "problems"?}}`.

Messages are written for whoever sent the request, so folders of the server are taken out of them.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from acestep_flows.errors import FlowsError, GraphError, Overloaded, StageError, Unauthorized, Unavailable

log = logging.getLogger(__name__)

MOST_FAULTS = 50
HIDDEN = "<server>"

CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
}
"""Codes of what the framework itself refuses."""


class Redactor:
    """Takes the server's folders out of texts.

    Args:
        roots: folders and files whose place is nobody's business.
    """

    def __init__(self, roots: Iterable[Path | str] = ()) -> None:
        found = {str(root) for root in roots} | {str(Path(root).resolve()) for root in roots}
        self._roots = sorted((root for root in found if len(root) > 1), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """`text` with each root as `<server>`."""
        for root in self._roots:
            text = text.replace(root, HIDDEN)
        return text

    def content(self, content: Any) -> Any:
        """JSON with every text in it cleaned."""
        if isinstance(content, str):
            return self(content)
        if isinstance(content, Mapping):
            return {name: self.content(part) for name, part in content.items()}
        if isinstance(content, (list, tuple)):
            return [self.content(part) for part in content]
        return content


NOTHING_HIDDEN = Redactor()

CODE = "acestep_flows.code"
"""Where a request's scope has the code of the error that it was answered with, for whoever counts."""


class FaultResponse(JSONResponse):
    """An answer whose body is `{"error": {"code", ...}, ...}`."""

    def __init__(self, body: Mapping[str, Any], status: int, headers: Mapping[str, str] | None = None) -> None:
        self._code = str(body["error"]["code"])
        super().__init__(_encodable(body), status, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[CODE] = self._code
        await super().__call__(scope, receive, send)


def status_of(code: str) -> int:
    """The HTTP status of an error that is known by its code only, as runs keep it."""
    return _statuses().get(code, 500)


def body_of(error: FlowsError, redact: Redactor = NOTHING_HIDDEN) -> dict[str, Any]:
    """An error as JSON."""
    node = error.node if isinstance(error, StageError) else ""
    fault: dict[str, Any] = {"code": error.code, "message": redact(str(error)), "node": node or None}
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


def answer(
    error: FlowsError, redact: Redactor = NOTHING_HIDDEN, extra: Mapping[str, Any] | None = None
) -> JSONResponse:
    """The response to an error; `extra` stands beside `error` in its body."""
    headers = {}
    if isinstance(error, (Overloaded, Unavailable)):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return FaultResponse(body_of(error, redact) | dict(extra or {}), error.status, headers)


def install(app: FastAPI, redact: Redactor) -> None:
    """Answer every error of `app` in this form."""

    async def flows(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, FlowsError)
        if error.status == 500:
            log.error("%s %s: %s", request.method, request.url.path, error)
        return answer(error, redact)

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = CODES.get(error.status_code, "error")
        return FaultResponse(_fault(code, str(error.detail)), error.status_code, dict(error.headers or {}))

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return FaultResponse(_fault("invalid_input", "; ".join(_told(error))), 422)

    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        reference = secrets.token_hex(6)
        log.error("%s %s: internal error %s", request.method, request.url.path, reference, exc_info=error)
        return FaultResponse(_fault("internal", f"internal error; the server's log has it as {reference}"), 500)

    app.add_exception_handler(FlowsError, flows)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, unexpected)


def _fault(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "node": None}}


def _told(error: RequestValidationError) -> Iterator[str]:
    """What is wrong with a request, field by field, without what was sent: that may be megabytes."""
    faults = error.errors()
    for fault in faults[:MOST_FAULTS]:
        place = ".".join(str(part)[:60] for part in fault["loc"] if part != "body")
        yield f"{place}: {fault['msg']}" if place else str(fault["msg"])
    if len(faults) > MOST_FAULTS:
        yield f"and {len(faults) - MOST_FAULTS} more"


def _encodable(content: Any) -> Any:
    """JSON whose texts can be sent: half a character, as JSON allows, is shown escaped."""
    if isinstance(content, str):
        return content.encode("utf-8", "backslashreplace").decode()
    if isinstance(content, Mapping):
        return {_encodable(name): _encodable(part) for name, part in content.items()}
    if isinstance(content, (list, tuple)):
        return [_encodable(part) for part in content]
    return content


def _statuses() -> dict[str, int]:
    found: dict[str, int] = {}
    pending: list[type[FlowsError]] = [FlowsError]
    while pending:
        kind = pending.pop()
        found[kind.code] = kind.status
        pending += kind.__subclasses__()
    return found
