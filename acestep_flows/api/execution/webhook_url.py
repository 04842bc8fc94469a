"""Which URLs a webhook may have: http or https at a public address, unless the operator allows private ones."""

from __future__ import annotations

import contextlib
import re
import socket

import httpx2

from acestep_flows.api.execution.public_address import is_public
from acestep_flows.errors import InputError
from acestep_flows.settings import WEBHOOK_SECRET

LONGEST_URL = 2000
ALLOWED = "an http or https URL"
LOCAL_NAMES = ("localhost", "local", "internal", "home.arpa")
"""Names, and the ends of names, that mean this machine or its network."""

_LABEL = r"[A-Za-z0-9_-]{1,63}"
_HOST = re.compile(rf"(?=.{{1,254}}$){_LABEL}(\.{_LABEL})*\.?|[0-9a-fA-F:.]{{2,45}}")
_NUMBERS = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*\.?", re.IGNORECASE)
"""IPv4 addresses as resolvers read them: `127.1`, `0x7f.1`, `2130706433`, `0177.0.0.1`."""


def check_url(text: str, secret: str | None, private: bool, where: str = "webhook.url") -> httpx2.URL:
    """Check and parse the URL of a webhook, without using the network.

    Args:
        secret: the server's secret; None refuses all webhooks.
        private: whether private addresses are allowed.
        where: the field that named it, for errors.

    Raises:
        InputError: the URL is not valid, contains a password, or names a private address; or there is no secret.
    """
    if secret is None:
        allowed = f"no webhook, unless the operator sets {WEBHOOK_SECRET}"
        raise InputError("this server sends no webhooks", where="webhook", allowed=allowed)
    return check_address(text, private, where, "--private-webhooks", ALLOWED)


def check_address(text: str, private: bool, where: str, option: str, allowed: str = ALLOWED) -> httpx2.URL:
    """Check and parse a URL that a client names and this server will ask, without using the network.

    Args:
        private: whether private addresses are allowed.
        where: the field that named it, for errors.
        option: of `serve`, which lets private addresses, for errors.

    Raises:
        InputError: the URL is not valid, contains a password, or names a private address.
    """
    try:
        url = httpx2.URL(text)
        host = url.raw_host.decode("ascii")
    except (httpx2.InvalidURL, ValueError, TypeError):
        raise InputError("not a URL", where=where, allowed=allowed) from None
    usable = _HOST.fullmatch(host) and (url.port is None or 0 < url.port < 65_536)
    if url.scheme not in ("http", "https") or not usable or len(text) > LONGEST_URL:
        raise InputError("not a URL that can be called", where=where, allowed=allowed)
    if url.userinfo:
        raise InputError("a URL with a user or password", where=where, allowed=f"{allowed} without them")
    if not private and _is_private(host.lower()):
        raise InputError("a private address", where=where, allowed=public_unless(option))
    return url


def public_unless(option: str) -> str:
    """What addresses are allowed, and the option of `serve` that allows others."""
    return f"a public address, unless the operator starts the server with {option}"


def _is_private(host: str) -> bool:
    """Whether a host is a private address or a name for one, without a lookup."""
    if _NUMBERS.fullmatch(host):
        try:
            return not is_public(socket.inet_ntoa(socket.inet_aton(host.removesuffix("."))))
        except OSError:
            return True  # numbers that are no address, which resolvers may read as they like
    with contextlib.suppress(ValueError):
        return not is_public(host)
    name = host.removesuffix(".")
    return name in LOCAL_NAMES or name.endswith(tuple(f".{local}" for local in LOCAL_NAMES))
