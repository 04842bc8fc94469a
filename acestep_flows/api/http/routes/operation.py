"""Routes for operators: pause and resume the queue, drain a server, read the audit log.

They are for the keys of administrators; on a server with one key, or none, for its one caller.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from acestep_flows.api.http.dependencies import Caller, TheCaller, TheService, in_thread
from acestep_flows.api.http.json_body import JsonRoute
from acestep_flows.api.http.operation_schemas import AuditEntry, AuditPage, Queue, Reason, SwitchedOn, TableServer
from acestep_flows.api.http.response_schemas import Failure
from acestep_flows.api.http.routes.declarations import Responses
from acestep_flows.api.service import Service
from acestep_flows.api.store.audit import AuditRecord
from acestep_flows.api.store.records import RunState
from acestep_flows.api.store.runs import LARGEST_PAGE
from acestep_flows.api.store.schema import QUEUE
from acestep_flows.api.store.switches import Switch
from acestep_flows.errors import Forbidden

NOT_OPERATOR = "this is for the key of an administrator (acestep-flows key NAME --admin)"


async def operator(service: TheService, caller: TheCaller) -> Caller:
    """The caller, if it may operate the server.

    Raises:
        Forbidden: it may not.
    """
    if not caller.operates(service):
        raise Forbidden(NOT_OPERATOR)
    return caller


TheOperator = Annotated[Caller, Depends(operator)]
ServerName = Annotated[
    str, Path(description="The name of a server, from GET /v1/queue.", examples=["node-3-812-1f9a3c0b"], max_length=80)
]
NO_SERVER: Responses = {404: {"model": Failure, "description": "No server of this name works now."}}

router = APIRouter(prefix="/v1", route_class=JsonRoute, tags=["operation"])


@router.get("/queue")
async def show_queue(service: TheService, caller: TheOperator) -> Queue:
    """Whether the queue is paused, what is in it, and the servers that compute its runs."""
    return await in_thread(_queue, service)


@router.post("/queue:pause")
async def pause_queue(body: Reason, service: TheService, caller: TheOperator) -> Queue:
    """Start no more runs, on any server of the table. What runs goes on, and runs are accepted and wait."""
    await in_thread(service.home.switches.pause, caller.owner, body.reason)
    return await in_thread(_queue, service)


@router.post("/queue:resume")
async def resume_queue(service: TheService, caller: TheOperator) -> Queue:
    """Start runs again."""
    await in_thread(service.home.switches.resume, caller.owner)
    service.on_accepted()
    return await in_thread(_queue, service)


@router.post("/servers/{name}:drain", responses=NO_SERVER)
async def drain_server(name: ServerName, body: Reason, service: TheService, caller: TheOperator) -> Queue:
    """Let a server start no more runs and accept none; what it computes goes on. Stop it when it has no runs left."""
    await in_thread(service.home.switches.drain, name, caller.owner, body.reason)
    return await in_thread(_queue, service)


@router.post("/servers/{name}:undrain", responses=NO_SERVER)
async def undrain_server(name: ServerName, service: TheService, caller: TheOperator) -> Queue:
    """Let a server work again."""
    await in_thread(service.home.switches.undrain, name, caller.owner)
    service.on_accepted()
    return await in_thread(_queue, service)


@router.get("/audit")
async def show_audit(
    service: TheService,
    caller: TheOperator,
    who: Annotated[str | None, Query(max_length=100, description="Name of a key.", examples=["alice"])] = None,
    action: Annotated[
        str | None,
        Query(max_length=40, description="An action, or what it is about.", examples=["run.submitted", "key"]),
    ] = None,
    since: Annotated[date | None, Query(description="From this day on (UTC).", examples=["2026-03-01"])] = None,
    until: Annotated[date | None, Query(description="Up to this day (UTC).", examples=["2026-03-31"])] = None,
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="Entries on a page.", examples=[20])] = 50,
    before: Annotated[
        int | None, Query(ge=1, le=2**53, description="The 'next' of the page before.", examples=[41])
    ] = None,
) -> AuditPage:
    """Who did what: runs, files, sessions, keys, the queue. Newest first."""
    records = await in_thread(
        service.home.audit.list,
        who=who,
        action=action,
        since=None if since is None else _start(since),
        until=None if until is None else _start(until) + timedelta(days=1).total_seconds(),
        limit=limit + 1,
        before=before,
    )
    page = records[:limit]
    return AuditPage(
        entries=[_entry(record) for record in page], next=page[-1].number if len(records) > limit else None
    )


def _queue(service: Service) -> Queue:
    """The queue as it is now. Blocks."""
    switches, counts = service.home.switches, service.home.runs.counts()
    servers = [
        TableServer(
            name=record.name,
            slots=record.slots,
            runs=record.runs,
            seen_at=datetime.fromtimestamp(record.seen_at, UTC),
            drains=_switched_on(record.drain),
            this=record.name == service.server,
        )
        for record in switches.servers()
    ]
    return Queue(
        paused=_switched_on(switches.known(QUEUE)),
        queued=counts[RunState.QUEUED],
        running=counts[RunState.RUNNING],
        servers=servers,
    )


def _switched_on(switch: Switch | None) -> SwitchedOn | None:
    if switch is None:
        return None
    return SwitchedOn(since=datetime.fromtimestamp(switch.since, UTC), who=switch.who, reason=switch.reason)


def _entry(record: AuditRecord) -> AuditEntry:
    return AuditEntry(
        number=record.number,
        time=datetime.fromtimestamp(record.time, UTC),
        who=record.who,
        action=record.action,
        object=record.object,
        details=dict(record.details),
    )


def _start(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
