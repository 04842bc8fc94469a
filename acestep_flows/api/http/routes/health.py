"""Routes for operators: liveness, readiness, metrics and statistics."""

from __future__ import annotations

import contextlib

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from acestep_flows import __version__
from acestep_flows.api.http.dependencies import Streams, TheCaller, TheService, in_thread
from acestep_flows.api.http.metrics import Metrics
from acestep_flows.api.http.response_schemas import Health, Ready, Stats
from acestep_flows.api.service import Service
from acestep_flows.api.store.schema import QUEUE
from acestep_flows.errors import StorageError

router = APIRouter(tags=["health"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def health() -> Health:
    """Whether the process answers. Needs no API key."""
    return Health(version=__version__)


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses={503: {"model": Ready, "description": "The server takes no runs now."}})
async def ready(service: TheService, response: Response) -> Ready:
    """Whether the server takes runs. Needs no API key. While the queue is paused it does; `reason` says so."""
    away = await in_thread(service.home.stores_away)
    reason = f"{' and '.join(away)} cannot be reached" if away else await in_thread(_why_not_ready, service)
    if reason:
        response.status_code = 503
        response.headers["Retry-After"] = "1"
    paused = service.home.switches.known(QUEUE)
    note = f"the queue is paused{paused.because}: runs are accepted and wait" if paused and not reason else ""
    return Ready(ready=not reason, reason=service.redact(reason or note))


def _why_not_ready(service: Service) -> str:
    with contextlib.suppress(StorageError):
        service.home.switches.read()
    return service.ready()


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "content": {"text/plain": {"schema": {"type": "string"}}},
            "description": "Metrics as Prometheus text.",
        }
    },
)
async def metrics(request: Request, service: TheService, caller: TheCaller) -> Response:
    """Metrics for Prometheus. On a server with several keys, most of them are for the keys of operators."""
    metrics: Metrics = request.app.state.metrics
    page = await metrics.page(whole=caller.sees_whole(service))
    return Response(page, headers={"Content-Type": CONTENT_TYPE_LATEST})


@router.get("/v1/stats")
async def stats(request: Request, service: TheService, caller: TheCaller) -> Stats:
    """Statistics for people: runs by state, open streams, and every replica of the serving processes.

    On a server with several keys, callers see their own runs and no replicas, unless their key is an operator's.
    """
    streams: Streams = request.app.state.streams
    whole = caller.sees_whole(service)
    counts = service.home.runs.counts
    return Stats(
        runs=await (in_thread(counts) if whole else in_thread(counts, caller.owner)),
        queue_limit=service.options.queued,
        paused=QUEUE in await in_thread(service.home.switches.read),
        streams=streams.open,
        serving=dict(await service.process_stats()) if whole else {},
    )
