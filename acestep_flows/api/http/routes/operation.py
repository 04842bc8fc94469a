"""Routes for operators: pause and resume the queue, drain a server, read the audit log, and list the keys.

They take the key of an administrator. A server with one key, or none, has one caller, who may do all of this.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query

from acestep_flows.api.http.dependencies import Caller, TheCaller, TheService, in_thread
from acestep_flows.api.http.json_body import JsonRoute
from acestep_flows.api.http.keys import Key
from acestep_flows.api.http.operation_schemas import (
    AuditEntry,
    AuditPage,
    KeyList,
    KeyOverview,
    Queue,
    Reason,
    SwitchedOn,
    TableServer,
)
from acestep_flows.api.http.response_schemas import Failure
from acestep_flows.api.http.routes.account import Since, Until, owner_usage, start_of
from acestep_flows.api.http.routes.declarations import Responses
from acestep_flows.api.service import Service
from acestep_flows.api.store.audit import AuditRecord
from acestep_flows.api.store.records import RunState, UsageRecord
from acestep_flows.api.store.runs import LARGEST_PAGE
from acestep_flows.api.store.schema import QUEUE
from acestep_flows.api.store.switches import Switch
from acestep_flows.api.store.usage import DAY
from acestep_flows.errors import Forbidden

NOT_OPERATOR = "this is for the key of an administrator (acestep-flows key NAME --admin)"


async def operator(service: TheService, caller: TheCaller) -> Caller:
    """The caller of a route for operators.

    Raises:
        Forbidden: the server has several keys, and that of the caller is not an administrator's.
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
    """Whether the queue is paused, how many runs wait and are computed, and the servers that compute them."""
    return await in_thread(_queue, service)


@router.post("/queue:pause")
async def pause_queue(body: Reason, service: TheService, caller: TheOperator) -> Queue:
    """Pause the queue: no server of the table starts a run. Running runs go on, and new ones are accepted and wait."""
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
    """Drain a server: it starts and accepts no runs; those that it computes go on. Stop it when it has none left."""
    await in_thread(service.home.switches.drain, name, caller.owner, body.reason)
    return await in_thread(_queue, service)


@router.post("/servers/{name}:undrain", responses=NO_SERVER)
async def undrain_server(name: ServerName, service: TheService, caller: TheOperator) -> Queue:
    """Let a server start and accept runs again."""
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
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="Entries on a page.", examples=[20])] = 50,
    before: Annotated[
        int | None, Query(ge=1, le=2**53, description="The 'next' of the page before.", examples=[41])
    ] = None,
) -> AuditPage:
    """Who did what: runs, files, sessions, keys, the queue. Newest first."""
    end = start_of(until)
    records = await in_thread(
        service.home.audit.list,
        who=who,
        action=action,
        since=start_of(since),
        until=None if end is None else end + DAY,
        limit=limit + 1,
        before=before,
    )
    page = records[:limit]
    return AuditPage(
        entries=[_entry(record) for record in page], next=page[-1].number if len(records) > limit else None
    )


@router.get("/keys")
async def show_keys(service: TheService, caller: TheOperator, since: Since = None, until: Until = None) -> KeyList:
    """The keys: limits, what each uses now, and what its runs used that ended in these days. No key itself."""
    return await in_thread(_keys, service, start_of(since), start_of(until))


def _keys(service: Service, since: float | None, until: float | None) -> KeyList:
    """The keys of the server, and the owners whose key it does not have any more. Blocks."""
    home, now = service.home, time.time()
    usage = {record.owner: record for record in home.usage.by_owner(None, since, until)}
    today = {record.owner: record.compute_seconds for record in home.usage.by_owner(None, now, now)}
    active, stored = home.usage.active_by_owner(), home.quotas.stored()
    keys = {key.name: key for key in service.keys.keys}
    return KeyList(
        keys=[
            KeyOverview(
                name=name or None,
                known=name in keys,
                active_runs=active.get(name, 0),
                compute_seconds_today=round(today.get(name, 0.0), 3),
                stored_bytes_now=stored.get(name, 0),
                usage=owner_usage(usage.get(name) or UsageRecord(name, 0, 0.0, 0.0)),
                **(_limits(keys[name]) if name in keys else {}),
            )
            for name in sorted({*keys, *usage, *today, *active, *stored})
        ]
    )


def _limits(key: Key) -> dict[str, Any]:
    return key.model_dump(exclude={"name", "sha256"})


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
