"""Which URLs a webhook may have: http or https at a public address, unless the operator allows private ones."""

from __future__ import annotations

import contextlib
import ipaddress
import re

import httpx2

from acestep_flows.errors import InputError
from acestep_flows.settings import WEBHOOK_SECRET

LONGEST_URL = 2000
ALLOWED = "an http or https URL"

_LABEL = r"[A-Za-z0-9_-]{1,63}"
_HOST = re.compile(rf"(?=.{{1,254}}$){_LABEL}(\.{_LABEL})*\.?|[0-9a-fA-F:.]{{2,45}}")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""The IPv6 addresses allocated so far. Others are local, or embed IPv4 addresses in outdated ways."""

_DOCUMENTATION = ipaddress.ip_network("3fff::/20")  # unknown to the ipaddress module of older Pythons


def check_url(text: str, secret: str | None, private: bool) -> httpx2.URL:
    """Check and parse the URL of a webhook, without using the network.

    Args:
        secret: the server's secret; None refuses all webhooks.
        private: whether private addresses are allowed.

    Raises:
        InputError: the URL is not valid, contains a password, or names a private address; or there is no secret.
    """
    if secret is None:
        allowed = f"no webhook, unless the operator sets {WEBHOOK_SECRET}"
        raise InputError("this server sends no webhooks", where="webhook", allowed=allowed)
    try:
        url = httpx2.URL(text)
        host = url.raw_host.decode("ascii")
    except (httpx2.InvalidURL, ValueError, TypeError):
        raise InputError("not a URL", where="webhook.url", allowed=ALLOWED) from None
    usable = _HOST.fullmatch(host) and (url.port is None or 0 < url.port < 65_536)
    if url.scheme not in ("http", "https") or not usable or len(text) > LONGEST_URL:
        raise InputError("not a URL that can be called", where="webhook.url", allowed=ALLOWED)
    if url.userinfo:
        raise InputError("a URL with a user or password", where="webhook.url", allowed=f"{ALLOWED} without them")
    with contextlib.suppress(ValueError):
        if not private and not is_public(str(ipaddress.ip_address(url.host))):
            raise InputError("a private address", where="webhook.url", allowed="a public address")
    name = url.host.removesuffix(".")
    if not private and (name == "localhost" or name.endswith((".localhost", ".internal", ".local"))):
        raise InputError("a private address", where="webhook.url", allowed="a public address")
    return url


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet. An IPv4 address embedded in an IPv6 one is judged itself."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if embedded is not None:
            return ip.ipv4_mapped is not None and is_public(str(embedded))
        if ip in ipaddress.ip_network("64:ff9b::/96"):
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        if ip not in _GLOBAL_UNICAST or ip in _DOCUMENTATION:
            return False
    return ip.is_global and not ip.is_multicast
