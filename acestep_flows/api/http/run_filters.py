"""Which runs a list has, from the query of a request."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Query

from acestep_flows.api.http.schema_base import Text
from acestep_flows.api.store.records import RunState

HALF_MICROSECOND = 5e-7
"""Times in responses are rounded to microseconds."""

_Moment = Annotated[
    datetime | None,
    Query(
        description="Only runs accepted at this time or later, or before it. Without an offset it is UTC.",
        examples=["2026-03-01T00:00:00Z"],
    ),
]


def run_filters(
    state: Annotated[RunState | None, Query(description="Only runs in this state.", examples=["running"])] = None,
    graph: Annotated[
        Text | None, Query(max_length=200, description="Only runs of this graph.", examples=["text2music"])
    ] = None,
    label: Annotated[
        list[Text] | None,
        Query(
            max_length=16,
            description="Only runs with this label: NAME, or NAME:TEXT. Several must all match.",
            examples=[["session:2026-03-01"]],
        ),
    ] = None,
    created_after: _Moment = None,
    created_before: _Moment = None,
) -> dict[str, Any]:
    """Filters as arguments of `RunTable.list`."""
    return {
        "state": state,
        "graph": graph,
        "labels": label or (),
        "created_after": _seconds(created_after),
        "created_before": _seconds(created_before),
    }


RunFilters = Annotated[dict[str, Any], Depends(run_filters)]


def _seconds(moment: datetime | None) -> float | None:
    """A time as seconds since the epoch, so that a run lies on the side of it on which its rounded time lies."""
    if moment is None:
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() - HALF_MICROSECOND
