"""Webhooks: when a run has ended, tell the address its submitter named, signed, and again until it is heard.

Signed as Standard Webhooks do: `webhook-id`, `webhook-timestamp`, and `webhook-signature: v1,<base64>` of HMAC-SHA256
over `id.timestamp.body`. What is due stands in the run table, so nothing is lost with the process; a receiver may hear
of the same end twice and tells by the id.

A name is resolved once and the connection goes to the address that was checked, so no name that changes its mind
reaches the inside of a network; redirects are not followed. No receiver can keep those of others waiting: each has
seconds in all, and a place that comes free is taken by whatever is due next.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import ipaddress
import json
import logging
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx

from acestep_flows.api.store.records import RunRecord
from acestep_flows.api.store.runs import RunTable
from acestep_flows.errors import InputError
from acestep_flows.settings import WEBHOOK_SECRET

log = logging.getLogger(__name__)

ATTEMPTS = 12
FIRST_WAIT, LONGEST_WAIT = 5.0, 3600.0  # seconds between attempts
TIMEOUT, CONNECT_TIMEOUT = 10.0, 4.0  # seconds of silence
LONGEST_POST = 20.0
"""Seconds for one attempt in all, the look-up of the name included: less than the table keeps it from others."""

MOST_ADDRESSES = 4
POLL = 1.0
TOGETHER = 10
LONGEST_URL = 2000
ALLOWED = "an http or https URL"

_LABEL = r"[A-Za-z0-9_-]{1,63}"
_HOST = re.compile(rf"(?=.{{1,254}}$){_LABEL}(\.{_LABEL})*\.?|[0-9a-fA-F:.]{{2,45}}")
_OPEN = ipaddress.ip_network("2000::/3")
"""All that was ever given out of IPv6. What lies beyond is local, or wraps IPv4 in one of many old ways."""

_DOCUMENTS = ipaddress.ip_network("3fff::/20")  # too young for some of the Pythons

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host."""


async def resolved(host: str, port: int) -> list[str]:
    """Every address of `host`; raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[4][0]) for place in found))


def sign(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    content = f"{id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret.encode(), content, hashlib.sha256).digest()).decode()


def check_url(text: str, secret: str | None, private: bool) -> httpx.URL:
    """The URL of a webhook, before anything is asked of the network.

    Raises:
        InputError: it is none, carries credentials, names a private address, or the server signs none.
    """
    if secret is None:
        raise InputError("this server sends none", where="webhook", allowed=f"nothing, until it has {WEBHOOK_SECRET}")
    try:
        url = httpx.URL(text)
        host = url.raw_host.decode("ascii")
    except (httpx.InvalidURL, ValueError, TypeError):
        raise InputError("not a URL", where="webhook.url", allowed=ALLOWED) from None
    named = _HOST.fullmatch(host) and (url.port is None or 0 < url.port < 65_536)
    if url.scheme not in ("http", "https") or not named or len(text) > LONGEST_URL:
        raise InputError("not a URL to post to", where="webhook.url", allowed=ALLOWED)
    if url.userinfo:
        raise InputError("a URL with a password in it", where="webhook.url", allowed=ALLOWED)
    with contextlib.suppress(ValueError):
        if not private and not is_public(str(ipaddress.ip_address(url.host))):
            raise InputError("a private address", where="webhook.url", allowed="a public one")
    name = url.host.removesuffix(".")
    if not private and (name == "localhost" or name.endswith((".localhost", ".internal", ".local"))):
        raise InputError("a private address", where="webhook.url", allowed="a public one")
    return url


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the open internet, also when an IPv6 address wraps an IPv4 one."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inner is not None:
            return found.ipv4_mapped is not None and is_public(str(inner))
        if found in ipaddress.ip_network("64:ff9b::/96"):
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
        if found not in _OPEN or found in _DOCUMENTS:
            return False
    return found.is_global and not found.is_multicast


class Webhooks:
    """Sends what is due.

    Args:
        runs: where it stands.
        secret: what it is signed with; None: nothing is sent.
        describe: the body for a run that is over.
        private: whether addresses inside the network are allowed.
        transport: how requests are made; for tests.
        resolve: how names are looked up.
        failures: where it is counted, as "webhooks", how often the table could not be read or written.
    """

    def __init__(
        self,
        runs: RunTable,
        secret: str | None,
        describe: Callable[[RunRecord], Mapping[str, Any]],
        *,
        private: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
        resolve: Resolve = resolved,
        failures: Counter[str] | None = None,
    ) -> None:
        self._runs, self._secret, self._describe = runs, secret, describe
        self._private, self._resolve = private, resolve
        self._failures: Counter[str] = Counter() if failures is None else failures
        # No proxies from the environment: they would reach what is refused here.
        self._client = httpx.AsyncClient(
            transport=transport,
            timeout=httpx.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT),
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def forever(self) -> None:
        """Send until cancelled."""
        sending: set[asyncio.Task[None]] = set()
        try:
            while True:
                due = await self._take(TOGETHER - len(sending))
                sending |= {asyncio.create_task(self._send(run)) for run in due}
                if len(sending) == TOGETHER:
                    await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
                elif not due:
                    await asyncio.sleep(POLL)
                sending = {task for task in sending if not task.done()}
        finally:
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
            await self._client.aclose()

    async def send_due(self) -> int:
        """Send what is due now, and wait for it; how many there were."""
        due = await self._take(TOGETHER)
        await asyncio.gather(*(self._send(run) for run in due))
        return len(due)

    async def _take(self, most: int) -> tuple[RunRecord, ...]:
        try:
            return await asyncio.to_thread(self._runs.take_webhooks, most)
        except Exception:  # whatever happened to the table, the next round may find it well
            self._failures["webhooks"] += 1
            log.exception("webhooks: what is due cannot be told")
            return ()

    async def _send(self, run: RunRecord) -> None:
        reason = await self._tried(run)
        try:
            await asyncio.to_thread(self._note, run, reason)
        except Exception:  # it is due again once the table lets go of it
            self._failures["webhooks"] += 1
            log.exception("webhook of %s: how it went cannot be written", run.id)

    def _note(self, run: RunRecord, reason: str | None) -> None:
        """Write how it went. Blocks."""
        if reason is None:
            self._runs.webhook_sent(run.id)
            return
        now = time.time()
        failures = self._runs.webhook_failed(run.id, now + wait_after(now - (run.finished_at or now)))
        if failures >= ATTEMPTS:
            log.warning("webhook of %s is given up after %d attempts: %s", run.id, failures, reason)
            self._runs.webhook_sent(run.id)
            return
        log.info("webhook of %s failed (%d of %d): %s", run.id, failures, ATTEMPTS, reason)

    async def _tried(self, run: RunRecord) -> str | None:
        """Why it was not delivered in time, or None."""
        try:
            async with asyncio.timeout(LONGEST_POST):
                return await self._post(run)
        except TimeoutError:
            return f"took longer than {LONGEST_POST:g} s"
        except Exception as error:  # an attempt like any other that failed, and counted as one
            log.exception("webhook of %s", run.id)
            return type(error).__name__

    async def _post(self, run: RunRecord) -> str | None:
        """Why it was not delivered, or None."""
        try:
            url = check_url(str((run.webhook or {}).get("url", "")), self._secret, self._private)
            addresses = await self._resolve(url.host, url.port or (443 if url.scheme == "https" else 80))
        except (InputError, OSError, UnicodeError) as error:
            return str(error)
        if not addresses or not (self._private or all(is_public(address) for address in addresses)):
            return "its host has a private address"
        body = json.dumps(self._describe(run)).encode()
        reason = None
        for address in addresses[:MOST_ADDRESSES]:
            try:
                response = await self._client.send(
                    self._request(run.id, url, address, body), follow_redirects=False, stream=True
                )
                await response.aclose()  # what it says does not matter, and may be endless
            except httpx.HTTPError as error:
                reason = f"{type(error).__name__}: {error}"
                if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
                    continue  # nothing was sent, and another address may be reached
                return reason
            return None if response.is_success else f"answered {response.status_code}"
        return reason

    def _request(self, id: str, url: httpx.URL, address: str, body: bytes) -> httpx.Request:
        assert self._secret is not None
        timestamp = int(time.time())
        headers = {
            "content-type": "application/json",
            "host": url.netloc.decode("ascii"),
            "webhook-id": id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(self._secret, id, timestamp, body),
        }
        return self._client.build_request(
            "POST",
            url.copy_with(host=address),
            content=body,
            headers=headers,
            extensions={"sni_hostname": url.host},  # the certificate is the name's, not the address's
        )


def wait_after(elapsed: float) -> float:
    """Seconds until the next attempt, `elapsed` after the end of the run: as long again, so that waits double.

    With some chance in it, so that a receiver that comes back is not hit by all at once.
    """
    return min(max(elapsed, FIRST_WAIT), LONGEST_WAIT) * random.uniform(0.8, 1.2)
