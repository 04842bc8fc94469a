"""Who calls, from any of the forms in which clients of other servers send a key."""

from __future__ import annotations

from fastapi import Request

from acestep_flows.api.http.dependencies import Caller, service_of

SCHEMES = ("bearer", "token", "key")
"""Of the headers that follow, in any case; without one the whole header is the key."""

HEADERS = ("authorization", "x-hf-authorization")
"""Gradio's client sends its `token` in the second one."""


def presented_key(request: Request) -> str | None:
    """The key in the headers of a request; None if there is none."""
    header = next((found.strip() for name in HEADERS if (found := request.headers.get(name))), "")
    scheme, _, rest = header.partition(" ")
    key = rest.strip() if scheme.lower() in SCHEMES else header
    return key or request.headers.get("x-api-key", "").strip() or None


def caller_of(request: Request, token: str | None = None) -> Caller:
    """The caller, charged for one request.

    Args:
        token: a key in the body. It wins over the headers.

    Raises:
        Unauthorized: the key is missing or unknown.
        RateLimited: the key made too many requests.
    """
    key = service_of(request).keys.admit(token or presented_key(request))
    return Caller(key, host=request.headers.get("host", ""))
