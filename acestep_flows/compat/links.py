"""Addresses of a family and of its files: signed where the server has keys, and opened by their signature or a key.

Players and some clients send no key for audio. So a link carries `sig`: the time of its end and an HMAC-SHA256 over
asset, owner and that time, compared in constant time (`api.http.file_links`, whose secret is kept in the home).
"""

from __future__ import annotations

import time
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from acestep_flows.api.http.dependencies import Caller, in_thread, service_of
from acestep_flows.api.http.file_links import FileLinks
from acestep_flows.api.http.page_origin import server_address
from acestep_flows.api.http.ranges import Disposition, file_response
from acestep_flows.api.http.routes.assets import safe_name
from acestep_flows.api.store.records import AssetRecord
from acestep_flows.compat.callers import caller_of
from acestep_flows.compat.spoken import AT_ROOT, ROOT
from acestep_flows.errors import FlowsError, Forbidden, NotFound

SECONDS = 3600
"""How long a link works. Each answer that has it signs it anew."""

router = APIRouter()


def root_path(request: Request) -> str:
    """The path of the family as the client sees it, without a slash at the end."""
    return "" if at_root(request) else str(request.scope.get("root_path", "")).rstrip("/")


def root_address(request: Request) -> str:
    """The absolute address of the family, without a slash at the end.

    It is that of `--public-url`, or else of the request: its Host, and the scheme that a trusted proxy names.
    """
    if at_root(request):
        return f"{request.url.scheme}://{request.headers.get('host', '')}"
    public = service_of(request).options.public_url
    if public is None:
        return server_address(request)  # the root path of this request ends with that of the family
    path = str(request.scope.get("root_path", ""))
    return public + path[path.index(ROOT) :].rstrip("/")


def at_root(request: Request) -> bool:
    """Whether a request came by a port of the family's own."""
    return bool(request.scope.get(AT_ROOT))


async def signature(request: Request, asset: AssetRecord) -> str | None:
    """What a link to an asset carries as `sig`; None where the server has no keys."""
    if not service_of(request).keys:
        return None
    links: FileLinks = request.app.state.links
    token = await in_thread(links.sign, asset, int(time.time()) + SECONDS)
    return token.partition(".")[2]


async def opened(request: Request, asset: str, sig: str | None, caller: Caller | None) -> AssetRecord:
    """The asset that a link names.

    Args:
        sig: the signature of the link.
        caller: who asks, where there is no signature.

    Raises:
        NotFound: there is no such asset, it belongs to another caller, or the link has expired.
    """
    if sig is not None and service_of(request).keys:
        links: FileLinks = request.app.state.links
        return await in_thread(links.open, f"{asset}.{sig}")
    owner = caller.visible_owner if caller is not None else None
    return await in_thread(service_of(request).home.assets.get, asset, owner)


def file_path(asset: AssetRecord, sig: str | None, name: str = "") -> str:
    """The path of an asset's file below the root of a family.

    Args:
        name: file name for whoever saves it; by default the asset's own.
    """
    path = f"/files/{asset.id}/{quote(name or asset.file_name, safe='')}"
    return path if sig is None else f"{path}?sig={quote(sig)}"


async def serve_file(
    request: Request, asset: AssetRecord, name: str = "", disposition: Disposition = "inline"
) -> Response:
    """The response to a GET or HEAD of an asset's file: whole, a range, or 304.

    Raises:
        NotFound: the file was removed.
    """
    return await file_response(
        request,
        service_of(request).home.artifacts,
        digest=asset.digest,
        size=asset.bytes,
        content_type=asset.content_type,
        file_name=safe_name(name) or asset.file_name,
        disposition=disposition,
    )


async def serve_link(request: Request, asset: str, sig: str | None, name: str = "") -> Response:
    """The response to a GET or HEAD of a link: it is opened by its signature, or by the caller's key.

    Raises:
        NotFound: as `opened`.
        Unauthorized: there is neither a signature nor a key.
    """
    caller = caller_of(request) if sig is None or not service_of(request).keys else None
    return await serve_file(request, await opened(request, asset, sig, caller), name)


def no_file(path: str, named: str) -> FlowsError:
    """The error for the path of a file that does not have the form of this family's paths.

    Args:
        named: how files are named here.
    """
    if "/" in path or "\\" in path or ".." in path:
        return Forbidden(f"path: files are named {named}, never by a path of the server's disk")
    return NotFound("no such file", where="path")


@router.get("/files/{asset}/{name}", response_class=Response, include_in_schema=False)
async def fetch_file(asset: str, name: str, request: Request, sig: Annotated[str | None, Query()] = None) -> Response:
    """The file of a link."""
    return await serve_link(request, asset, sig, name)


router.add_api_route("/files/{asset}/{name}", fetch_file, methods=["HEAD"], include_in_schema=False)
