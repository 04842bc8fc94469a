"""Turns errors in responses back into exceptions of `acestep_flows.errors`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from acestep_flows.errors import FlowsError, InputError, Overloaded, Problem, RateLimited, Unavailable

if TYPE_CHECKING:
    import httpx2

SHORTEST_WAIT = 1.0
"""Seconds to wait where a busy server does not say how long."""


def failure(fault: Mapping[str, Any], retry_after: float = 1.0) -> FlowsError:
    """The exception for `{"code", "message", "node", "field"?, "allowed"?, "problems"?, "faults"?}`.

    An unknown code gives a plain FlowsError. `field` and `allowed` are attributes of the exception, empty if not known.
    `faults` of an InputError has one for each thing that is wrong, where there are several.

    Args:
        retry_after: seconds, for errors that have them.
    """
    code, message = str(fault.get("code", "")), str(fault.get("message", ""))
    kind = _kinds().get(code, FlowsError)
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    field, allowed = str(fault.get("field") or ""), str(fault.get("allowed") or "")
    fields = {"what": message, "where": field, "field": field, "allowed": allowed}
    error.__dict__.update(fields | {"node": fault.get("node") or "", "stage": "", "cause": None})
    error.__dict__["problems"] = tuple(_problem(problem) for problem in fault.get("problems") or ())
    if isinstance(error, InputError):
        each = [failure({"code": InputError.code, **one}) for one in fault.get("faults") or ()]
        error.faults = tuple(one for one in each if isinstance(one, InputError))
    if code and kind is FlowsError:
        error.__dict__["code"] = code
    if isinstance(error, (Overloaded, Unavailable)):
        error.retry_after = retry_after
    if isinstance(error, Overloaded):
        error.limit = str(fault.get("limit") or "")
    return error


def refusal(response: httpx2.Response) -> FlowsError | None:
    """The exception for a response whose body was read; None if it is not an error of the server.

    A proxy that is too busy, or says when to come again, counts as the server.
    """
    try:
        fault = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        fault = None
    wait = _seconds(response.headers.get("Retry-After", ""))
    if isinstance(fault, Mapping):
        return failure(fault, SHORTEST_WAIT if wait is None else wait)
    what = f"status {response.status_code}"
    if response.status_code == RateLimited.status:
        return RateLimited(what, retry_after=SHORTEST_WAIT if wait is None else wait)
    return Overloaded(what, retry_after=wait) if response.status_code == Overloaded.status and wait else None


def _seconds(retry_after: str) -> float | None:
    """The seconds that a header Retry-After says, as a number or as a date; None if it says neither."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        until = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, until.timestamp() - time.time())


def _problem(content: Mapping[str, Any]) -> Problem:
    return Problem(
        str(content.get("rule", "")),
        str(content.get("message", "")),
        str(content.get("file") or ""),
        int(content.get("line") or 0),
        int(content.get("column") or 0),
        str(content.get("node") or ""),
    )


def _kinds() -> dict[str, type[FlowsError]]:
    """All exception classes by code."""
    kinds: dict[str, type[FlowsError]] = {}
    pending: list[type[FlowsError]] = [FlowsError]
    while pending:
        kind = pending.pop()
        kinds.setdefault(kind.code, kind)
        pending += kind.__subclasses__()
    return kinds
