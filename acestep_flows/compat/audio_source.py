"""Audio in all the ways in which clients name it, as an asset of the caller."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request

from acestep_flows.api.execution.accepted_run import own_hosts
from acestep_flows.api.http.dependencies import Caller, in_thread, service_of
from acestep_flows.api.http.uploads import receive_upload
from acestep_flows.api.service import Service
from acestep_flows.api.store.records import AssetRecord
from acestep_flows.compat.bodies import Body
from acestep_flows.compat.embedded_files import PREFIX
from acestep_flows.compat.fetching import ALLOWED, Fetcher
from acestep_flows.compat.files import ReceivedFile, keep, received
from acestep_flows.compat.refusal import Refusal
from acestep_flows.wording.missing_output import no_output
from acestep_flows.wording.phrases import clip

LONGEST_NAME = 2000
"""Characters of an address. A longer text is base64."""

_ASSET = re.compile(r"asset-[0-9a-f]{26}")
_OUTPUT = re.compile(r"/v1/runs/(run-[0-9a-f]{26})/outputs/([^/?#]+)")
_ADDRESS = re.compile(r"https?://([^/?#]+)", re.IGNORECASE)


async def asset_with(value: Any, field: str, request: Request, caller: Caller, body: Body) -> AssetRecord:
    """The asset with the audio that a field names.

    Args:
        value: a `ReceivedFile`; an asset's id; an address of this server, which is not asked; a `data:` URL or bare
            base64; any http or https address, which is fetched.
        field: as the client named it, for errors.
        body: of the request; a file that stood in it as base64 is found there.

    Raises:
        Refusal: it is none of these, or not audio.
        NotFound: it is an asset that the caller does not have.
    """
    service = service_of(request)
    if isinstance(value, ReceivedFile):
        return await keep(service, caller, value)
    if not isinstance(value, str) or not value.strip():
        raise Refusal(field, value, ALLOWED)
    text = value.strip()
    if (file := body.embedded.get(text)) is not None:
        return await keep(service, caller, file)
    if len(text) <= LONGEST_NAME and (own := await _own(text, field, service, caller)) is not None:
        return own
    if _ADDRESS.match(text):
        fetcher: Fetcher = request.app.state.fetcher
        return await keep(service, caller, await fetcher.fetch(text, field))
    return await keep(service, caller, await _decoded(text, field, service))


async def _own(text: str, field: str, service: Service, caller: Caller) -> AssetRecord | None:
    """The asset that an id or an address of this server names; None if it is neither."""
    host = _ADDRESS.match(text)
    if host is not None and not own_hosts(host[1]) & own_hosts(caller.host, service.options.public_url):
        return None
    owner = caller.visible_owner
    if (output := _OUTPUT.search(text)) is not None:
        record = await in_thread(service.home.runs.get, output[1], owner)
        if output[2] not in record.outputs:
            raise no_output(record.id, output[2], record.outputs, record.state, where=field)
        return await in_thread(service.home.assets.get, record.outputs[output[2]].asset, owner, field)
    if (asset := _ASSET.search(text)) is None:
        return None
    return await in_thread(service.home.assets.get, asset[0], owner, field)


async def _decoded(text: str, field: str, service: Service) -> ReceivedFile:
    """A short file from base64. Long ones were taken out of the body when it came."""
    prefix = PREFIX.match(text.encode("utf-8", "replace"))
    content = text[prefix.end() :] if prefix is not None else text
    try:
        decoded = b64decode(content + "=" * (-len(content) % 4), validate=True)
    except ValueError:
        raise Refusal(field, clip(text), ALLOWED) from None

    async def stream() -> AsyncIterator[bytes]:
        yield decoded

    async with receive_upload(stream(), service.home.artifacts, service.options.upload_bytes) as upload:
        return await received(service, upload, field)
