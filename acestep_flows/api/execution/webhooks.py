"""Webhooks: when a run ends, and when it starts if asked, the server posts it to a URL of its submitter, signed, with
retries.

The headers are `webhook-id`, `webhook-timestamp` and `webhook-signature` (`webhook_signature`). Due webhooks are in the
run table, so a restart loses none. A receiver may get the same webhook twice and recognizes it by its id.

A host name is resolved once, and the connection goes to the address that was checked, so DNS rebinding cannot reach a
private network. Redirects are not followed. A slow receiver cannot delay others: each attempt has a time limit, and
attempts run concurrently.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx2

from acestep_flows.api.execution.outage_log import OutageLog
from acestep_flows.api.execution.public_address import is_public
from acestep_flows.api.execution.webhook_signature import sign
from acestep_flows.api.execution.webhook_url import check_url
from acestep_flows.api.store.records import RunRecord
from acestep_flows.api.store.rows import is_called_at
from acestep_flows.api.store.runs import RunTable
from acestep_flows.errors import InputError, StorageError

log = logging.getLogger(__name__)

ATTEMPTS = 12
FIRST_WAIT, LONGEST_WAIT = 5.0, 3600.0  # seconds between attempts
TIMEOUT, CONNECT_TIMEOUT = 10.0, 4.0  # seconds without data
LONGEST_POST = 20.0
"""Seconds for one attempt with its DNS lookup. Must be less than the `hold` of `RunTable.take_webhooks`."""

MOST_ADDRESSES = 4
POLL = 1.0  # seconds between looks at the run table
CONCURRENT = 10  # attempts at the same time

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Returns the addresses of a host and port."""


async def resolve_host(host: str, port: int) -> list[str]:
    """All addresses of `host`.

    Raises:
        OSError: the lookup failed.
    """
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


class Webhooks:
    """Sends the webhooks that are due.

    Args:
        runs: the table with the due webhooks.
        secret: secret of the signatures; None sends nothing.
        describe: returns the body for a run that has ended, or has started.
        private: whether private addresses are allowed.
        transport: transport of httpx2, for tests.
        resolve: looks up host names.
        failures: counts, as "webhooks", how often the table could not be read or written, and as "webhook_deliveries",
            how often a receiver did not take one.
    """

    def __init__(
        self,
        runs: RunTable,
        secret: str | None,
        describe: Callable[[RunRecord], Mapping[str, Any]],
        *,
        private: bool = False,
        transport: httpx2.AsyncBaseTransport | None = None,
        resolve: Resolve = resolve_host,
        failures: Counter[str] | None = None,
    ) -> None:
        self._runs, self._secret, self._describe = runs, secret, describe
        self._private, self._resolve = private, resolve
        self._failures: Counter[str] = Counter() if failures is None else failures
        self._outages = OutageLog(log)
        # Proxies of the environment are ignored, because they could reach addresses that are refused here.
        self._client = httpx2.AsyncClient(
            transport=transport,
            timeout=httpx2.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT),
            trust_env=False,
            limits=httpx2.Limits(max_keepalive_connections=0),
        )

    async def run(self) -> None:
        """Send until cancelled."""
        sending: set[asyncio.Task[None]] = set()
        try:
            while True:
                due = await self._take(CONCURRENT - len(sending))
                sending |= {asyncio.create_task(self._send(run)) for run in due}
                if len(sending) == CONCURRENT:
                    await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
                elif not due:
                    await asyncio.sleep(POLL)
                sending = {task for task in sending if not task.done()}
        finally:
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
            await self._client.aclose()

    async def _take(self, most: int) -> tuple[RunRecord, ...]:
        try:
            due = await asyncio.to_thread(self._runs.take_webhooks, most)
            self._outages.worked("webhooks")
            return due
        except StorageError as error:
            self._failures["webhooks"] += 1
            self._outages.failed("webhooks", error)
            return ()
        except Exception:  # the next round may succeed
            self._failures["webhooks"] += 1
            log.exception("due webhooks cannot be read")
            return ()

    async def _send(self, run: RunRecord) -> None:
        reason = await self._attempt(run)
        if reason is not None:
            self._failures["webhook_deliveries"] += 1
        try:
            await asyncio.to_thread(self._record_result, run, reason)
        except Exception:  # it is due again when the `hold` of the table is over
            self._failures["webhooks"] += 1
            log.exception("webhook of %s: its result cannot be written", run.id)

    def _record_result(self, run: RunRecord, reason: str | None) -> None:
        """Write the result of an attempt: `reason` is why it failed, None if it succeeded. Blocks."""
        if reason is None:
            self._runs.webhook_sent(run.id, run.state.ended)
            return
        now = time.time()
        failures = self._runs.webhook_failed(run.id, now + retry_delay(now - (run.finished_at or now)))
        if failures >= ATTEMPTS:
            log.warning("webhook of %s is given up after %d attempts: %s", run.id, failures, reason)
            self._runs.webhook_sent(run.id, run.state.ended)
            return
        log.info("webhook of %s failed (%d of %d): %s", run.id, failures, ATTEMPTS, reason)

    async def _attempt(self, run: RunRecord) -> str | None:
        """Post a webhook within LONGEST_POST seconds. Returns why that failed; None if it succeeded."""
        try:
            async with asyncio.timeout(LONGEST_POST):
                return await self._post(run)
        except TimeoutError:
            return f"took longer than {LONGEST_POST:g} s"
        except Exception as error:  # counts as a failed attempt
            log.exception("webhook of %s", run.id)
            return type(error).__name__

    async def _post(self, run: RunRecord) -> str | None:
        """Post a webhook to the first address that answers. Returns why that failed; None if it succeeded."""
        try:
            url = check_url(str((run.webhook or {}).get("url", "")), self._secret, self._private)
            addresses = await self._resolve(url.host, url.port or (443 if url.scheme == "https" else 80))
        except (InputError, OSError, UnicodeError) as error:
            return str(error)
        if not addresses or not (self._private or all(is_public(address) for address in addresses)):
            return "the host has a private address"
        body = json.dumps(self._describe(run)).encode()
        reason = None
        for address in addresses[:MOST_ADDRESSES]:
            try:
                response = await self._client.send(
                    self._request(message_id(run), url, address, body), follow_redirects=False, stream=True
                )
                await response.aclose()  # the body is not needed and may be endless
            except httpx2.HTTPError as error:
                reason = f"{type(error).__name__}: {error}"
                if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout)):
                    continue  # nothing was sent, so try the next address
                return reason
            return None if response.is_success else f"answered {response.status_code}"
        return reason

    def _request(self, id: str, url: httpx2.URL, address: str, body: bytes) -> httpx2.Request:
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
            extensions={"sni_hostname": url.host},  # the certificate is for the name, not for the address
        )


def message_id(run: RunRecord) -> str:
    """The id of a webhook: that of its run; of one that tells the start, with `.start`."""
    return run.id if run.state.ended and is_called_at("completed", run.webhook) else f"{run.id}.start"


def retry_delay(elapsed: float) -> float:
    """Seconds until the next attempt, `elapsed` seconds after the end of the run.

    The delay is about as long as `elapsed`, so delays double. It is random within 20 %, so that a receiver that
    recovers does not get all retries at the same moment.
    """
    return min(max(elapsed, FIRST_WAIT), LONGEST_WAIT) * random.uniform(0.8, 1.2)
