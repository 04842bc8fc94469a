"""Families as parts of the server's application, under `/compat/NAME` and at ports of their own."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from acestep_flows import __version__
from acestep_flows.api.http.errors import CODE, ErrorForm
from acestep_flows.api.http.refusals import CODES, invalid_request
from acestep_flows.api.service import Service
from acestep_flows.compat import links
from acestep_flows.compat.family import Family, load
from acestep_flows.compat.fetching import Fetcher
from acestep_flows.compat.refusal import ErrorAnswer, answer_of
from acestep_flows.compat.spoken import AT_ROOT, family_path
from acestep_flows.errors import FlowsError, InputError

log = logging.getLogger(__name__)

WORDS = {404: "nothing at {path}", 405: "{method} is not allowed at {path}"}


def mount(app: FastAPI) -> None:
    """Add the families that the service of `app` speaks (`ApiOptions.speak`)."""
    service: Service = app.state.service
    if service.options.speak:
        app.state.fetcher = Fetcher(service)
    for name in service.options.speak:
        family = load(name)
        app.mount(family_path(name), family_app(family, app))
        app.state.error_forms[family_path(name)] = _form(family, service)
        if family.webhook is not None:
            app.state.webhook_forms[name] = family.webhook


def family_app(family: Family, app: FastAPI) -> FastAPI:
    """The application of a family. It shares the state of the server's."""
    part = FastAPI(
        title=f"acestep_flows: {family.title}",
        version=__version__,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    part.state = app.state
    part.include_router(family.router)
    part.include_router(links.router)
    _render_errors(part, family, app.state.service)
    return part


def _form(family: Family, service: Service) -> ErrorForm:
    """The response of a family to one of our errors."""

    def form(request: Request, error: FlowsError) -> Response:
        return _rendered(family, request, answer_of(error, service.redact, getattr(error, "run", None)))

    return form


def _rendered(family: Family, request: Request, answer: ErrorAnswer) -> Response:
    request.scope[CODE] = answer.code
    return family.render(request, answer)


def _render_errors(part: FastAPI, family: Family, service: Service) -> None:
    """Make a family answer every error in its own form."""
    form = _form(family, service)

    async def flows(request: Request, error: Exception) -> Response:
        assert isinstance(error, FlowsError)
        if error.status == 500:
            log.error("%s %s: %s", request.method, request.url.path, error)
        return form(request, error)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        status, path = error.status_code, request.url.path[:200]
        if isinstance(error.__cause__, InputError):
            return await flows(request, error.__cause__)
        words = WORDS.get(status, str(error.detail)).format(path=path, method=request.method)
        answer = ErrorAnswer(status, CODES.get(status, "error"), words, headers=dict(error.headers or {}))
        return _rendered(family, request, answer)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return await flows(request, invalid_request(request, error))

    async def unexpected(request: Request, error: Exception) -> Response:
        reference = secrets.token_hex(6)
        log.error("%s %s: internal error %s", request.method, request.url.path, reference, exc_info=error)
        message = f"internal error; search the server's log for {reference}"
        return _rendered(family, request, ErrorAnswer(500, "internal", message))

    part.add_exception_handler(FlowsError, flows)
    part.add_exception_handler(HTTPException, http)
    part.add_exception_handler(RequestValidationError, invalid)
    part.add_exception_handler(Exception, unexpected)


class AtPorts:
    """The server's application, with families at the root of ports of their own.

    Args:
        ports: the name of the family by port.
    """

    def __init__(self, app: ASGIApp, ports: Mapping[int, str]) -> None:
        self._app, self._ports = app, dict(ports)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        port = (scope.get("server") or (None, None))[1] or 0
        name = self._ports.get(int(port)) if scope["type"] == "http" else None
        if name is not None:
            scope = {**scope, "path": family_path(name) + scope["path"], AT_ROOT: True}
            scope.pop("raw_path", None)
        await self._app(scope, receive, send)
