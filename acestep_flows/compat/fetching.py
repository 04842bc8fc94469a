"""Fetches audio that a client names by its address, as carefully as webhooks are sent.

Only public addresses are asked, unless the operator allows others. A host is looked up once, and the connection goes to
the address that was checked. Each redirect is checked anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2

from acestep_flows.api.execution.public_address import is_public
from acestep_flows.api.execution.webhook_url import check_address, public_unless
from acestep_flows.api.execution.webhooks import Resolve, resolve_host
from acestep_flows.api.http.uploads import receive_upload
from acestep_flows.api.options import MEGABYTE
from acestep_flows.api.service import Service
from acestep_flows.compat.files import ReceivedFile, received
from acestep_flows.compat.refusal import Refusal
from acestep_flows.wording.phrases import clip

LARGEST = 200 * MEGABYTE
SECONDS = 30.0
"""For a whole file, with its look-ups and redirects."""

REDIRECTS = 3
CONNECT_SECONDS = 5.0
OPTION = "--private-fetches"
ALLOWED = "an http or https address of audio, a data: URL, or a file of this server"


class Fetcher:
    """Fetches files for clients.

    Args:
        resolve: looks up host names.
        transport: transport of httpx2, for tests.
    """

    def __init__(
        self, service: Service, resolve: Resolve = resolve_host, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._service, self._resolve, self._transport = service, resolve, transport

    async def fetch(self, url: str, field: str) -> ReceivedFile:
        """The file at an address.

        Raises:
            Refusal: the address is not usable or does not answer with audio; `field` is named.
        """
        try:
            async with asyncio.timeout(SECONDS):
                return await self._fetch(url, field)
        except TimeoutError:
            raise Refusal(field, clip(url, 200), ALLOWED, f"takes longer than {SECONDS:g} s") from None
        except httpx2.HTTPError as error:
            raise Refusal(field, clip(url, 200), ALLOWED, f"cannot be fetched: {type(error).__name__}") from None

    async def _fetch(self, url: str, field: str) -> ReceivedFile:
        # Proxies of the environment are ignored, because they could reach addresses that are refused here.
        async with httpx2.AsyncClient(
            transport=self._transport,
            timeout=httpx2.Timeout(SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,
        ) as client:
            address = self._checked(url, field)
            for _ in range(REDIRECTS + 1):
                response = await client.send(await self._request(client, address, field), stream=True)
                try:
                    if not response.has_redirect_location:
                        return await self._take(response, address, field)
                    address = self._checked(str(address.join(response.headers["location"])), field)
                finally:
                    await response.aclose()
        raise Refusal(field, clip(url, 200), f"at most {REDIRECTS} redirects", "redirected too often")

    def _checked(self, url: str, field: str) -> httpx2.URL:
        return check_address(url, self._service.options.private_fetches, field, OPTION, ALLOWED)

    async def _request(self, client: httpx2.AsyncClient, url: httpx2.URL, field: str) -> httpx2.Request:
        """The request to the address of a host, which is looked up and checked once."""
        try:
            addresses = await self._resolve(url.host, url.port or (443 if url.scheme == "https" else 80))
        except (OSError, UnicodeError):
            addresses = []
        if not addresses:
            raise Refusal(field, clip(str(url), 200), ALLOWED, "no such host")
        if not (self._service.options.private_fetches or all(map(is_public, addresses))):
            raise Refusal(field, clip(str(url), 200), public_unless(OPTION), "the host has a private address")
        headers = {"host": url.netloc.decode("ascii"), "accept": "audio/*, */*;q=0.5"}
        return client.build_request(
            "GET", url.copy_with(host=addresses[0]), headers=headers, extensions={"sni_hostname": url.host}
        )

    async def _take(self, response: httpx2.Response, url: httpx2.URL, field: str) -> ReceivedFile:
        if not response.is_success:
            raise Refusal(field, clip(str(url), 200), ALLOWED, f"answered {response.status_code}")
        name = url.path.rpartition("/")[2]
        most = min(LARGEST, self._service.options.upload_bytes)
        async with receive_upload(_bytes(response), self._service.home.artifacts, most) as upload:
            return await received(self._service, upload, field, name)


async def _bytes(response: httpx2.Response) -> AsyncIterator[bytes]:
    async for chunk in response.aiter_bytes():
        yield chunk
