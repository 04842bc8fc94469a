"""Accepts runs: plans what a client asks for, checks its assets, and puts the run in the table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from acestep_flows.api.execution.accepted_run import StandIn, own_hosts, snapshot
from acestep_flows.api.execution.webhook_url import check_url
from acestep_flows.api.http.dependencies import Caller, in_thread
from acestep_flows.api.http.request_schemas import RunOptions
from acestep_flows.api.http.turns import Turn
from acestep_flows.api.service import Service
from acestep_flows.api.store.assets import decoded_bytes
from acestep_flows.api.store.records import NewRun, QueueLimits, RunRecord
from acestep_flows.errors import CheckpointError, Conflict, InputError, Overloaded
from acestep_flows.graph.checking.feeds import feeds
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.content import sha256
from acestep_flows.graph.language.syntax import Graph
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.tracing.context import current_traceparent
from acestep_flows.wording.phrases import clip

EXTRAS = frozenset({"adapter", "control_branch"})
"""Parameters that name what is installed beside a model."""

NONE_INSTALLED = "none is installed; `acestep-flows train` makes one"

UNREADY_SECONDS = 5.0
"""Retry-After of a server that is starting or ending; another server may have taken its place by then."""


async def accept_run(
    service: Service,
    caller: Caller,
    graph: str | dict[str, Any],
    inputs: dict[str, Any],
    options: RunOptions,
    header_key: str | None,
    turn: Turn,
    *,
    warnings: Sequence[str] = (),
    webhook: Mapping[str, Any] | None = None,
    sameness: str = "",
) -> RunRecord:
    """Accept a run, or return the one that was accepted before under the same idempotency key.

    Args:
        graph: the name of a graph, or a graph as JSON.
        header_key: the idempotency key of the header.
        turn: plans the run.
        warnings: what was done otherwise than the caller asked before it came here; the run tells them first.
        webhook: fields to store beside the webhook's URL, such as the form of its body.
        sameness: what two requests that are the same have alike, in place of graph and inputs: these may name an
            upload of the request itself, or what was drawn for it.

    Raises:
        FlowsError: the graph, the inputs or a limit does not allow the run. Nothing is stored then.
    """
    _check_request(service, graph, options, header_key)
    key = header_key or options.idempotency_key
    fields = options.model_dump(mode="json", include=set(RunOptions.model_fields) - {"idempotency_key"})
    if not options.labels:  # digests of requests without labels are those of 0.1.0
        del fields["labels"]
    digest = await in_thread(sha256, [sameness, fields] if sameness else [graph, inputs, fields])
    try:
        return await _accept(
            service, caller, graph, inputs, options, key, digest, turn, warnings=warnings, webhook=webhook
        )
    except Conflict as error:
        if header_key is not None:
            error.field = "Idempotency-Key"
        raise


async def _accept(
    service: Service,
    caller: Caller,
    graph: str | dict[str, Any],
    inputs: dict[str, Any],
    options: RunOptions,
    key: str | None,
    digest: str,
    turn: Turn,
    *,
    warnings: Sequence[str],
    webhook: Mapping[str, Any] | None,
) -> RunRecord:
    """Accept a run under an idempotency key, or return the one that has it."""
    # Look for an accepted run first: its assets may have expired since, and a retry must succeed all the same.
    if key is not None:
        accepted = await in_thread(service.home.runs.accepted, caller.owner, key, digest)
        if accepted is not None:
            return accepted
    await in_thread(service.home.quotas.check_run, caller.owner, caller.quotas)
    new = await turn.do(lambda: _new_run(service, caller, graph, inputs, options))
    new = dataclasses.replace(new, idempotency_key=key, request_digest=digest, warnings=(*warnings, *new.warnings))
    if webhook is not None and new.webhook is not None:
        new = dataclasses.replace(new, webhook={**new.webhook, **webhook})
    owned = caller.key.runs if caller.key is not None else None
    record, is_new = await in_thread(service.home.runs.accept, new, QueueLimits(service.options.queued, owned))
    if is_new:
        if trace := current_traceparent():
            await in_thread(service.home.traces.keep, record.id, trace)
        service.on_accepted()
    return record


def _check_request(service: Service, graph: str | dict[str, Any], options: RunOptions, header_key: str | None) -> None:
    """Refuse what needs no plan to be refused."""
    if header_key is not None and options.idempotency_key not in (None, header_key):
        raise InputError(
            "differs from the header Idempotency-Key", where="idempotency_key", allowed="one of them, or equal ones"
        )
    if options.webhook is not None:
        url, field = options.webhook.url, options.webhook.url_field
        check_url(url, service.webhook_secret, service.options.private_webhooks, field)
    if not isinstance(graph, str) and not service.options.inline_graphs:
        allowed = "the name of a graph of this server, unless the operator starts it with --inline-graphs"
        raise InputError("a graph of your own", where="graph", allowed=allowed)


def _new_run(
    service: Service, caller: Caller, graph: str | dict[str, Any], inputs: dict[str, Any], options: RunOptions
) -> NewRun:
    """Plan a run with its options. Blocks."""
    if reason := service.ready():
        raise Overloaded(f"the server takes no runs now: {reason}", retry_after=UNREADY_SECONDS)
    scope = service.scope(graph, "graph") if isinstance(graph, str) else service.checked(parse_graph(service, graph))
    plan, new = plan_inputs(service, caller, scope, inputs)
    _check_extras(service, scope, new)
    return dataclasses.replace(
        new,
        owner=caller.owner,
        priority=options.priority,
        deadline=options.deadline,
        preview_every=options.preview_every,
        labels=options.labels,
        cache=options.cache,
        format=options.format,
        webhook=None if options.webhook is None else options.webhook.model_dump(),
        expected_seconds=service.expected_seconds(plan),
    )


def _check_extras(service: Service, scope: Scope, new: NewRun) -> None:
    """Refuse an adapter or a control branch that is not installed. Blocks.

    Raises:
        InputError: an input names one.
    """
    named = [(feed.input, feed.param) for feed in feeds(scope) if feed.sure and feed.param in EXTRAS]
    named = [(name, kind) for name, kind in named if isinstance(new.inputs.get(name), str)]
    if not named:
        return
    try:
        card = service.model_card()
    except CheckpointError:  # the weights may be on the machines of the pool alone
        return
    installed = {"adapter": card.adapters, "control_branch": card.controls}
    for name, kind in named:
        extra = new.inputs[name]
        if card.name and extra not in installed[kind]:
            raise InputError(
                f"no {kind.replace('_', ' ')} {clip(extra)!r} on this server",
                where=name,
                allowed=installed[kind] or NONE_INSTALLED,
            )


def parse_graph(service: Service, content: str | dict[str, Any]) -> Graph:
    """Parse a graph of a request: YAML text or JSON."""
    library = service.library
    return library.parse(content, "graph") if isinstance(content, str) else library.parse_plain(content, "graph")


def plan_inputs(service: Service, caller: Caller, scope: Scope, inputs: dict[str, Any]) -> tuple[Plan, NewRun]:
    """Plan a graph for a caller's inputs. Returns the plan and the run to accept. Blocks, but reads no asset's file.

    Raises:
        InputError: an input is not what the graph takes, or the assets together are too large after decoding.
        NotFound: an asset does not exist, or belongs to another caller.
    """

    def stand_in(id: str, kind: str, where: str) -> StandIn:
        asset = service.home.assets.of_kind(id, kind, where, caller.visible_owner)
        return StandIn(asset.kind, asset.details.get("seconds"), asset.details.get("notes", ()))

    hosts = own_hosts(caller.host, service.options.public_url)
    plan, new = snapshot(scope, inputs, stand_in, hosts=hosts, most_nodes=service.options.nodes)
    size, most = total_decoded_bytes(service, new.assets), service.options.input_decoded_bytes
    if size > most:
        raise InputError(
            f"the assets take {size >> 20} MB together after decoding", where="inputs", allowed=f"up to {most >> 20} MB"
        )
    return plan, new


def total_decoded_bytes(service: Service, assets: Iterable[str]) -> int:
    """Memory in bytes that the values in some assets take together."""
    return sum(decoded_bytes(service.home.assets.get(asset)) for asset in set(assets))
