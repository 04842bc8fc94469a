"""Turns errors in responses back into exceptions of `acestep_flows.errors`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from acestep_flows.errors import FlowsError, Overloaded, Problem

if TYPE_CHECKING:
    import httpx2


def failure(fault: Mapping[str, Any], retry_after: float = 1.0) -> FlowsError:
    """The exception for `{"code", "message", "node", "field"?, "allowed"?, "problems"?}`.

    An unknown code gives a plain FlowsError. `field` and `allowed` are attributes of the exception, empty if not known.

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
    if code and kind is FlowsError:
        error.__dict__["code"] = code
    if isinstance(error, Overloaded):
        error.retry_after = retry_after
    return error


def refusal(response: httpx2.Response) -> FlowsError | None:
    """The exception for a response whose body was read; None if the body is not an error of the server."""
    try:
        fault = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(fault, Mapping):
        return None
    wait = response.headers.get("Retry-After", "")
    return failure(fault, float(wait) if wait.isdigit() else 1.0)


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
