"""What the framework refuses before a route sees it, in the words of this project: paths, methods, bodies, values."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from acestep_flows.api.http.schema_base import MAX_DEPTH, PATTERNS
from acestep_flows.api.http.validation_faults import input_errors
from acestep_flows.errors import InputError, UnsupportedMedia
from acestep_flows.graph.language.wording import clip

MOST_FAULTS = 50
"""Faults of one request that a response lists."""

JSON_TYPE = "application/json"

V1 = "/v1/"

LIKE = 0.6
"""How like each word of a path must be to that of a route for the route to be named, between 0 and 1."""

CODES = {
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
}
"""Error codes of requests that the framework itself refuses, by status."""


def refusal_body(request: Request, error: HTTPException) -> dict[str, Any]:
    """The body of the response to a request that no route took, or whose body cannot be read."""
    fault: dict[str, Any] = {"code": CODES.get(error.status_code, "error"), "message": str(error.detail), "node": None}
    path = clip(request.url.path, 200)
    if error.status_code == 404:
        near = _nearest_path(request)
        fault["message"] = f"nothing at {path}{f', nearest {near}' if near else ''}; GET / says where to begin"
    elif error.status_code == 405:
        fault["allowed"] = allowed_methods(request)
        fault["message"] = f"{request.method} is not allowed at {path} (allowed: {fault['allowed']})"
    return {"error": fault}


def allowed_methods(request: Request) -> str:
    """The methods that the path of a request has routes for, as the header Allow has them."""
    return ", ".join(sorted(set(_methods(request, request.app.routes))))


def unreadable_body(error: HTTPException) -> InputError:
    """The error for a body that the framework cannot read: what our own reader of JSON says, if it does."""
    if isinstance(error.__cause__, InputError):
        return error.__cause__
    return InputError("not JSON", where="body", allowed=f"JSON in UTF-8, nested at most {MAX_DEPTH} deep")


def invalid_request(request: Request, error: RequestValidationError) -> InputError:
    """The error for a request whose values are not usable. Its field is that of the first fault."""
    details = error.errors()
    if any(detail["type"] == "json_invalid" for detail in details):
        return _not_json(str(error.body), details[0])
    if isinstance(error.body, bytes):
        return _wrong_media(request.headers.get("content-type", ""))
    faults = input_errors(details[:MOST_FAULTS], PATTERNS)
    if len(details) > MOST_FAULTS:
        faults.append(InputError(f"and {len(details) - MOST_FAULTS} more"))
    return InputError.of_several(faults)


def _not_json(text: str, detail: Any) -> InputError:
    position = int(detail["loc"][-1])
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    reason = str(detail["ctx"]["error"])
    what = f"not JSON at line {line}, column {column}: {reason[:1].lower()}{reason[1:]}"
    return InputError(what, where="body", allowed="a JSON object")


def _wrong_media(content_type: str) -> UnsupportedMedia:
    what = f"{clip(content_type)!r} is not JSON" if content_type else "missing"
    return UnsupportedMedia(
        f"{what}; send the header Content-Type: {JSON_TYPE}", where="Content-Type", allowed=JSON_TYPE
    )


def _nearest_path(request: Request) -> str:
    """The path of a route that may be meant; empty if none is near. Any text may stand for a parameter."""
    scope = request.scope
    given = str(scope["path"]).removeprefix(str(scope.get("root_path", ""))).removeprefix(V1).strip("/").split("/")
    likeness: dict[str, float] = {}
    for path in _paths(request.app.routes):
        names = path.removeprefix(V1).split("/")
        if len(names) == len(given):
            pairs = [pair for pair in zip(names, given, strict=True) if not pair[0].startswith("{")]
            likeness[path] = min(difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs)
    best = max(likeness, key=likeness.__getitem__, default="")
    return best if best and likeness[best] >= LIKE else ""


def _paths(routes: Sequence[BaseRoute]) -> Iterator[str]:
    """The paths of the interface."""
    for route in routes:
        if (included := getattr(route, "original_router", None)) is not None:
            yield from _paths(included.routes)
        elif (path := str(getattr(route, "path", ""))).startswith(V1):
            yield path


def _methods(request: Request, routes: Sequence[BaseRoute]) -> Iterator[str]:
    """The methods that the path has routes for."""
    for route in routes:
        if (included := getattr(route, "original_router", None)) is not None:
            yield from _methods(request, included.routes)
        elif route.matches(request.scope)[0] is not Match.NONE:
            yield from getattr(route, "methods", None) or ()
