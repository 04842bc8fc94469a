"""Audio that came with a request, into the asset store: what it really is, is found out first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from acestep_flows.api.http.dependencies import Caller, in_thread
from acestep_flows.api.http.routes.assets import safe_name
from acestep_flows.api.http.uploads import UploadInfo, inspect_upload
from acestep_flows.api.service import Service
from acestep_flows.api.store.artifacts import Upload
from acestep_flows.api.store.records import AssetRecord, Blob
from acestep_flows.errors import InputError


@dataclass(frozen=True)
class ReceivedFile:
    """A file that lies in the artifact store and belongs to nobody yet. Unless it is kept, the next sweep removes it.

    Attributes:
        field: of the request that had it.
        name: its file name; empty without one.
    """

    field: str
    name: str
    blob: Blob
    info: UploadInfo


async def received(service: Service, upload: Upload, field: str, name: str = "") -> ReceivedFile:
    """Look what an upload is, and move it into the store.

    Raises:
        InputError: it is neither audio nor latents, is damaged, or is too long; `field` is named.
        StorageError: the disk is full.
    """
    options = service.options
    async with service.decode_budget.reserve(options.upload_decoded_bytes):
        bounds = (options.upload_seconds, options.upload_decoded_bytes)
        try:
            info = await in_thread(inspect_upload, upload, *bounds, safe_name(name), field)
        except InputError as error:  # it names the file; a client looks for its field
            what = f"{safe_name(name)}: {error.what}" if name else error.what
            raise InputError(what, where=field, allowed=error.allowed) from None
    return ReceivedFile(field, safe_name(name), await in_thread(upload.finish), info)


async def keep(service: Service, caller: Caller, file: ReceivedFile, **details: Any) -> AssetRecord:
    """Make a file an asset of the caller.

    Args:
        details: to keep beside those of its content, unless they are empty.

    Raises:
        QuotaExceeded: the caller keeps too many bytes.
    """
    await in_thread(service.home.quotas.check_upload, caller.owner, caller.quotas, file.blob.bytes)
    return await in_thread(
        service.home.assets.add,
        file.blob,
        file.info.kind,
        content_type=file.info.content_type,
        file_name=file.name or f"upload.{file.info.extension}",
        owner=caller.owner,
        details={**file.info.details, **{name: value for name, value in details.items() if value}},
    )
