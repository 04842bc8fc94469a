"""The page's files over HTTP, at `/studio/`. A policy lets nothing in but the server's own files.

The page itself brings its style sheet, its icon and the texts of one language, so that the first screen asks little.
"""

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

LANGUAGES = ("en", "de", "zh")
"""Languages of the page. The first one is for those who read none of them."""

POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Styles have a nonce: the page has one inside, and the waveform's element brings another."""

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
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
async def index(request: Request) -> Response:
    """The page. Its policy is new each time, so it is not kept."""
    nonce, language = secrets.token_urlsafe(16), _language(request.headers.get("accept-language", ""))
    texts = _files()[f"strings/{language}.json"].replace(b"<", b"\\u003c")  # no text may end the element it is in
    content = _files()["index.html"]
    for place, value in ((b"nonce", nonce.encode()), (b"language", language.encode()), (b"texts", texts)):
        content = content.replace(b"{{" + place + b"}}", value)
    headers = {"Content-Security-Policy": POLICY.format(nonce=nonce), "Cache-Control": "no-store"}
    return Response(content, media_type=MEDIA_TYPES[".html"], headers=headers)


def _language(accepted: str) -> str:
    """The first language that a browser accepts and the page has. Browsers name the preferred one first."""
    codes = (entry.strip()[:2].lower() for entry in accepted.split(","))
    return next((code for code in codes if code in LANGUAGES), LANGUAGES[0])


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
