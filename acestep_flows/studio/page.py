"""The page's files over HTTP, at `/studio/`. A policy lets nothing in but the server's own files."""

from __future__ import annotations

import hashlib
import secrets
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

router = APIRouter(prefix="/studio", include_in_schema=False)

PLACE_OF_NONCE = b"{{nonce}}"
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Styles have a nonce because the waveform's element brings a style sheet of its own."""

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@cache
def _files() -> dict[str, bytes]:
    """The content of the page's files, by their path below `static/`."""
    found: dict[str, bytes] = {}
    folders = [(PurePosixPath(), files(__package__) / "static")]
    while folders:
        path, folder = folders.pop()
        for entry in folder.iterdir():
            if entry.is_dir():
                folders.append((path / entry.name, entry))
            else:
                found[str(path / entry.name)] = entry.read_bytes()
    return found


@router.get("")
async def redirect(request: Request) -> Response:
    """The page's addresses are relative, so it needs the slash."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/studio/")


@router.get("/")
async def index() -> Response:
    """The page. Its policy is new each time, so it is not kept."""
    nonce = secrets.token_urlsafe(16)
    content = _files()["index.html"].replace(PLACE_OF_NONCE, nonce.encode())
    headers = {"Content-Security-Policy": POLICY.format(nonce=nonce), "Cache-Control": "no-store"}
    return Response(content, media_type=MEDIA_TYPES[".html"], headers=headers)


@router.get("/{path:path}")
async def show_file(path: str, request: Request) -> Response:
    """A file of the page. Browsers ask each time whether it has changed."""
    content = _files().get(path)
    if content is None or path == "index.html":
        raise HTTPException(404)
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=MEDIA_TYPES[PurePosixPath(path).suffix], headers=headers)
