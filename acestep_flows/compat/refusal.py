"""What a family refuses, and errors as families render them: each in the form that its clients read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acestep_flows.errors import Allowed, FlowsError, InputError, Overloaded, Unauthorized, Unavailable
from acestep_flows.wording.phrases import show


class Refusal(InputError):
    """A field of a request cannot be done as it says.

    Args:
        field: the name that the client sent.
        value: what it sent.
        allowed: what would be done.
        why: what is wrong; by default the value itself.
        kind: the type of the fault, as FastAPI names it: `missing`, `value_error`.
    """

    def __init__(self, field: str, value: Any, allowed: Allowed, why: str = "", *, kind: str = "value_error") -> None:
        self.value, self.kind = value, kind
        super().__init__(why or show(value), where=field, allowed=allowed)


@dataclass(frozen=True)
class ErrorAnswer:
    """An error for a client.

    Attributes:
        status: HTTP status as our own interface has it; a family may know another.
        code: code of the error (`errors`).
        message: the error in words, without folders of the server.
        field: name of the field at fault; empty if there is none.
        allowed: what it may be.
        faults: one for each field at fault.
        headers: of the response: Retry-After, WWW-Authenticate, X-Run-Id.
        run: id of the run, if it was accepted and goes on.
    """

    status: int
    code: str
    message: str
    field: str = ""
    allowed: str = ""
    faults: Sequence[InputError] = ()
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    run: str | None = None

    @property
    def locations(self) -> list[dict[str, Any]]:
        """The faults as FastAPI lists them: `loc`, `msg`, `type`, and `input` where the value is known."""
        return [_location(fault) for fault in self.faults]


def _location(fault: InputError) -> dict[str, Any]:
    allowed = f" (allowed: {fault.allowed})" if fault.allowed else ""
    entry = {"loc": ["body", fault.field], "msg": f"{fault.what}{allowed}", "type": "value_error"}
    if isinstance(fault, Refusal):
        entry |= {"type": fault.kind, "input": fault.value}
    return entry


def answer_of(error: FlowsError, redact: Any = str, run: str | None = None) -> ErrorAnswer:
    """An error as families render it.

    Args:
        redact: removes the server's folders from texts.
    """
    headers = {}
    if isinstance(error, (Overloaded, Unavailable)):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if run is not None:
        headers["X-Run-Id"] = run
    name, allowed = str(getattr(error, "field", "")), str(getattr(error, "allowed", ""))
    faults: Sequence[InputError] = (error.faults or (error,)) if isinstance(error, InputError) else ()
    return ErrorAnswer(error.status, error.code, redact(str(error)), name, allowed, faults, headers, run)
