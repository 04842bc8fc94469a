"""The HTTP interface: `create_app(service)` gives an ASGI application, whoever serves it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from acestep_flows import __version__
from acestep_flows.api.execution.webhooks import Webhooks
from acestep_flows.api.http import errors
from acestep_flows.api.http.dependencies import Streams
from acestep_flows.api.http.limits import BodyLimit, HostCheck
from acestep_flows.api.http.metrics import Counting, Metrics
from acestep_flows.api.http.responses import Answers
from acestep_flows.api.http.routes import assets, graphs, health, runs
from acestep_flows.api.http.schemas import Failure
from acestep_flows.api.service import Service
from acestep_flows.api.store.records import RunRecord

UPLOADS = "/v1/assets"
DESCRIPTION = """Text to music, and every edit of it, as graphs of stages.

Submit a run with `POST /v1/runs`, follow it at its `events`, fetch what it gave from its `outputs`. Audio goes in
through `POST /v1/assets`; outputs of runs are assets already. Things are named by ids, never by paths.
Every answer that is no success has the body `{"error": {"code", "message", "node"}}`.
"""
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
"""Names a server without keys answers to: a web page that calls itself another name is not let in by a browser."""

COMMON: dict[int | str, dict[str, Any]] = {
    400: {"model": Failure, "description": "The body is not JSON."},
    401: {"model": Failure, "description": "An API key is needed."},
    413: {"model": Failure, "description": "The body is too large."},
    422: {"model": Failure, "description": "Something in the request is not usable."},
    429: {"model": Failure, "description": "Too much at once from this caller; Retry-After says when to come again."},
    500: {"model": Failure, "description": "A stage failed, or the server did."},
    503: {"model": Failure, "description": "No room now; Retry-After says when to come again."},
    507: {"model": Failure, "description": "The server's disk is full."},
}


def create_app(service: Service) -> FastAPI:
    """The application over a service. Its lifespan sends the webhooks that are due.

    The caller opens and closes the service's store, and has an executor run what is accepted.
    """
    app = FastAPI(
        title="acestep_flows",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan,
        responses=COMMON,
        generate_unique_id_function=_operation_id,
        redirect_slashes=False,
    )
    app.state.service = service
    app.state.streams = Streams(service.options.streams, service.options.streams_each)
    app.state.metrics = Metrics(service, app.state.streams)
    for routes in (graphs, runs, assets, health):
        app.include_router(routes.router)
    errors.install(app, service.redact)
    options = service.options
    app.add_middleware(BodyLimit, largest=options.body_bytes, larger={UPLOADS: options.upload_bytes})
    hosts = options.hosts or (() if service.keys else LOOPBACK_HOSTS)
    if hosts:
        app.add_middleware(HostCheck, hosts=hosts)
    if options.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(options.origins),
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=["Authorization", "X-API-Key", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Range"],
            expose_headers=[
                "Location",
                "Link",
                "X-Run-Id",
                "Retry-After",
                "Content-Range",
                "Accept-Ranges",
                "ETag",
                "X-Step",
            ],
            max_age=600,
        )
    app.add_middleware(Guarded)
    app.add_middleware(Counting, metrics=app.state.metrics)
    return app


class Guarded:
    """Middleware: tells browsers to believe the content type and to run nothing."""

    HEADERS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self.HEADERS]
            await send(message)

        await self._app(scope, receive, guarded)


def told(service: Service, record: RunRecord) -> Mapping[str, Any]:
    """The body of the webhook of a run that is over."""
    run = Answers("", service.redact).run(record, service.home.runs.nodes(record.id))
    content: Mapping[str, Any] = json.loads(run.model_dump_json())
    return {"type": f"run.{record.state.value}", "run": content}


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    if service.webhook_secret is None:
        yield
        return
    webhooks = Webhooks(
        service.home.runs,
        service.webhook_secret,
        lambda record: told(service, record),
        private=service.options.private_webhooks,
        failures=service.failures,
    )
    sending = asyncio.create_task(webhooks.forever())
    try:
        yield
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending


def _operation_id(route: APIRoute) -> str:
    return route.name
