"""Responses with a file of the artifact store: whole, one range of it, or 304 Not Modified.

The digest of the content is the entity tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from acestep_flows.api.http.dependencies import in_thread
from acestep_flows.api.store.artifacts import Artifacts

Disposition = Literal["attachment", "inline"]
"""Whether a browser saves a file or shows it."""

_NUMBER = r"[0-9]{1,100}"  # longer than any file, because clients ask for "up to the end" with huge numbers
_RANGE = re.compile(rf"bytes=\s*(?:({_NUMBER})\s*-\s*({_NUMBER})?|-\s*({_NUMBER}))\s*", re.IGNORECASE)


async def file_response(
    request: Request,
    artifacts: Artifacts,
    *,
    digest: str,
    size: int,
    content_type: str,
    file_name: str,
    disposition: Disposition = "attachment",
) -> Response:
    """The response to a GET or HEAD of one file. Ranges apply to GET only (RFC 9110, section 14.2).

    Raises:
        NotFound: the file was removed.
    """
    tag = f'"{digest}"'
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": tag,
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Disposition": content_disposition(file_name, disposition),
    }
    known_tags = [text.strip().removeprefix("W/") for text in request.headers.get("if-none-match", "").split(",")]
    if tag in known_tags or "*" in known_tags:
        return Response(status_code=304, headers=headers)
    range_header = request.headers.get("range") if request.method == "GET" else None
    if range_header is not None and request.headers.get("if-range", tag) != tag:
        range_header = None
    part = parse_range(range_header, size)
    if part is None:
        return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{size}"})
    status = 206 if part.partial else 200
    if part.partial:
        headers["Content-Range"] = f"bytes {part.start}-{part.start + part.length - 1}/{size}"
    headers["Content-Length"] = str(part.length)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=content_type)
    chunks: Iterator[bytes] = await in_thread(artifacts.chunks, digest, part.start, part.length)
    return StreamingResponse(chunks, status, headers, content_type)


@dataclass(frozen=True)
class ByteRange:
    """Bytes of a file. `partial` says that the client asked for a range."""

    start: int
    length: int
    partial: bool = True


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """The bytes that a Range header asks for; None if no such bytes exist.

    Several ranges, other units and malformed headers are ignored, as RFC 9110 allows: the whole file is sent.
    """
    whole = ByteRange(0, size, partial=False)
    match = _RANGE.fullmatch(header) if header is not None else None
    if match is None:
        return whole
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(int(suffix), size)
        return ByteRange(size - length, length) if length else None
    start = int(first)
    if last is not None and int(last) < start:
        return whole
    end = min(int(last), size - 1) if last is not None else size - 1
    return ByteRange(start, end - start + 1) if start < size else None


def content_disposition(file_name: str, disposition: Disposition = "attachment") -> str:
    """The Content-Disposition header of a file. Non-ASCII names are encoded as in RFC 5987."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", file_name)
    return f"{disposition}; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"
