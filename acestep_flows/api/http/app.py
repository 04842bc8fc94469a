"""The HTTP interface: `create_app(service)` returns the ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from acestep_flows import __version__
from acestep_flows.api.execution.webhook_signature import signing_key
from acestep_flows.api.execution.webhooks import Webhooks
from acestep_flows.api.http import errors
from acestep_flows.api.http.dependencies import Streams
from acestep_flows.api.http.file_links import FileLinks
from acestep_flows.api.http.limits import BodyLimit, HostCheck
from acestep_flows.api.http.metrics import Metrics, RequestMetrics
from acestep_flows.api.http.page_origin import PageCheck
from acestep_flows.api.http.query_check import check_query
from acestep_flows.api.http.request_spans import RequestSpans
from acestep_flows.api.http.response_schemas import Failure
from acestep_flows.api.http.responses import ResponseBuilder
from acestep_flows.api.http.routes import (
    account,
    assets,
    catalog,
    derived,
    graphs,
    health,
    library,
    operation,
    pages,
    recipes,
    renders,
    run_files,
    runs,
)
from acestep_flows.api.http.stored_file import Conversions
from acestep_flows.api.http.turns import Turns
from acestep_flows.api.options import COMPAT
from acestep_flows.api.service import Service
from acestep_flows.api.store.records import RunRecord
from acestep_flows.studio import page as studio
from acestep_flows.tracing.provider import has_provider

UPLOADS = "/v1/assets"
DESCRIPTION = """Text to music, and edits of music, as graphs of stages.

Submit a run with `POST /v1/runs`, follow its `events`, and fetch its `outputs`. Upload audio with `POST /v1/assets`;
outputs of runs are assets already. Requests name runs and assets by id, never by path.
Every response that is not a success has the body `{"error": {"code", "message", "node"}}`. Where they exist, `field` is
the field that is wrong and `allowed` what it may be.
"""
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
"""Host names of a server without keys. A web page under another name cannot reach it through a browser."""

REQUEST_HEADERS = (
    *("Authorization", "X-API-Key", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Range", "Prefer"),
    *(f"X-Fal-{name}" for name in ("Request-Timeout", "Request-Timeout-Type", "Queue-Priority", "Runner-Hint")),
    *(f"X-Fal-{name}" for name in ("No-Retry", "Store-IO", "Target-Url", "Object-Lifecycle-Preference")),
)
"""Request headers that scripts of other origins may send."""

EXPOSED_HEADERS = (
    *("Location", "Link", "X-Run-Id", "Retry-After", "Content-Range", "Accept-Ranges", "ETag", "X-Step"),
    *("X-Fal-Request-Id", "X-Fal-Error-Type"),
)
"""Response headers that scripts of other origins may read."""

COMMON: dict[int | str, dict[str, Any]] = {
    401: {"model": Failure, "description": "An API key is required."},
    403: {"model": Failure, "description": "A web page of another site sent this, which may not."},
    405: {"model": Failure, "description": "The path has other methods; Allow names them."},
    413: {"model": Failure, "description": "The body is too large."},
    415: {"model": Failure, "description": "The body has another media type than the route takes."},
    422: {"model": Failure, "description": "A value in the request is not usable."},
    429: {"model": Failure, "description": "This caller has reached a limit; Retry-After says when to try again."},
    500: {"model": Failure, "description": "A stage or the server failed."},
    503: {"model": Failure, "description": "The server is at its limit; Retry-After says when to try again."},
    507: {"model": Failure, "description": "The server's disk is full."},
}


def create_app(service: Service) -> FastAPI:
    """The application over a service. Its lifespan sends webhooks.

    The caller opens and closes the service's store, and runs an executor for accepted runs.

    Raises:
        InputError: the secret of webhooks is not usable.
    """
    if service.webhook_secret is not None:
        signing_key(service.webhook_secret)
    app = FastAPI(
        title="acestep_flows",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan,
        responses=COMMON,
        dependencies=[Depends(check_query)],
        generate_unique_id_function=_operation_id,
        redirect_slashes=False,
        docs_url=None,  # `routes.pages` has one that asks no other origin
        redoc_url=None,
    )
    app.state.service = service
    app.state.streams = Streams(service.options.streams, service.options.streams_each)
    app.state.turns = Turns()
    app.state.metrics = Metrics(service, app.state.streams)
    app.state.conversions = Conversions(service.home, service.decode_budget)
    app.state.links = FileLinks(service.home, service.keys)
    app.state.webhook_forms = {}
    app.state.error_forms = {}
    of_runs = (graphs, runs, run_files, renders, recipes, library)
    of_files = (assets, derived, catalog)
    for routes in (*of_runs, *of_files, account, operation, health, pages):
        app.include_router(routes.router)
    if service.options.studio:
        app.include_router(studio.router)
    errors.install(app, service.redact)
    _add_middleware(app, service)
    return app


def _add_middleware(app: FastAPI, service: Service) -> None:
    """Add the middleware. The last one added is the outermost."""
    options = service.options
    app.add_middleware(
        BodyLimit,
        largest=options.body_bytes,
        larger=dict.fromkeys((UPLOADS, recipes.PATH), options.upload_bytes),
        below={COMPAT: options.body_bytes + options.upload_bytes * 4 // 3},  # files come in base64 too
    )
    app.add_middleware(PageCheck, origins=options.origins)
    hosts = options.hosts or (() if service.keys else LOOPBACK_HOSTS)
    if hosts:
        app.add_middleware(HostCheck, hosts=hosts)
    if options.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(options.origins),
            allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=REQUEST_HEADERS,
            expose_headers=EXPOSED_HEADERS,
            max_age=600,
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestMetrics, metrics=app.state.metrics)
    if service.tracer is not None or has_provider():
        app.add_middleware(RequestSpans, provider=service.tracer)
    if options.prefix:
        app.add_middleware(Prefix, prefix=options.prefix)


class SecurityHeaders:
    """Middleware that adds headers: browsers must trust the content type and send no referrer."""

    HEADERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self.HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class Prefix:
    """Middleware that names the path prefix under which a proxy mounts the server. Paths without it work, too."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app, self._prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, "root_path": self._prefix}, receive, send)


WebhookForm = Callable[[Service, RunRecord], Mapping[str, Any]]
"""Makes the body of the webhook of a run that has ended."""


def webhook_body(service: Service, record: RunRecord) -> Mapping[str, Any]:
    """The body of the webhook of a run that has ended, in our own form."""
    builder = ResponseBuilder(service.options.public_url or "", service.redact, silent=service.keys.are_several)
    run = builder.run(record, service.home.runs.nodes(record.id))
    content: Mapping[str, Any] = json.loads(run.model_dump_json())
    return {"type": f"run.{record.state.value}", "run": content}


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    if service.webhook_secret is None:
        yield
        return
    forms: Mapping[str, WebhookForm] = app.state.webhook_forms

    def body(record: RunRecord) -> Mapping[str, Any]:
        form = str((record.webhook or {}).get("form", ""))
        return forms.get(form, webhook_body)(service, record)

    webhooks = Webhooks(
        service.home.runs,
        service.webhook_secret,
        body,
        private=service.options.private_webhooks,
        failures=service.failures,
    )
    sending = asyncio.create_task(webhooks.run())
    try:
        yield
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending


def _operation_id(route: APIRoute) -> str:
    return route.name
