"""From an error as the server tells it back to the exception tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from acestep_flows.errors import FlowsError, Overloaded, Problem

if TYPE_CHECKING:
    import httpx


def failure(fault: Mapping[str, Any], retry_after: float = 1.0) -> FlowsError:
    """The error that `{"code", "message", "node", "problems"?}` tells of; of an unknown code, a plain FlowsError."""
    code, message = str(fault.get("code", "")), str(fault.get("message", ""))
    kind = _kinds().get(code, FlowsError)
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    told = {"what": message, "where": "", "allowed": "", "node": fault.get("node") or "", "stage": "", "cause": None}
    error.__dict__.update(told)
    error.__dict__["problems"] = tuple(_problem(problem) for problem in fault.get("problems") or ())
    if code and kind is FlowsError:
        error.__dict__["code"] = code
    if isinstance(error, Overloaded):
        error.retry_after = retry_after
    return error


def refusal(response: httpx.Response) -> FlowsError | None:
    """The error in a response that has been read; None where it is not our server's way to tell one."""
    try:
        fault = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(fault, Mapping):
        return None
    wait = response.headers.get("Retry-After", "")
    return failure(fault, float(wait) if wait.isdigit() else 1.0)


def _problem(told: Mapping[str, Any]) -> Problem:
    return Problem(
        str(told.get("rule", "")),
        str(told.get("message", "")),
        str(told.get("file") or ""),
        int(told.get("line") or 0),
        int(told.get("column") or 0),
        str(told.get("node") or ""),
    )


def _kinds() -> dict[str, type[FlowsError]]:
    """Every class of the tree by its code."""
    found: dict[str, type[FlowsError]] = {}
    pending: list[type[FlowsError]] = [FlowsError]
    while pending:
        kind = pending.pop()
        found.setdefault(kind.code, kind)
        pending += kind.__subclasses__()
    return found
