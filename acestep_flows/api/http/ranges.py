"""A file of the artifact store as an answer: whole, a range of it, or the news that it has not changed.

Content never changes under a digest, so the digest is the entity tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from acestep_flows.api.http.dependencies import in_thread
from acestep_flows.api.store.artifacts import Artifacts

_NUMBER = r"[0-9]{1,100}"  # no file is as long, but one may ask for "up to the end" in this way
_RANGE = re.compile(rf"bytes=\s*(?:({_NUMBER})\s*-\s*({_NUMBER})?|-\s*({_NUMBER}))\s*", re.IGNORECASE)


async def file_answer(
    request: Request, artifacts: Artifacts, *, digest: str, size: int, content_type: str, file_name: str
) -> Response:
    """The answer to a GET or HEAD of one file; ranges are for GET (RFC 9110, 14.2).

    Raises:
        NotFound: the file is not kept any more.
    """
    tag = f'"{digest}"'
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": tag,
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Disposition": disposition(file_name),
    }
    had = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
    if tag in had or "*" in had:
        return Response(status_code=304, headers=headers)
    wanted = request.headers.get("range") if request.method == "GET" else None
    if wanted is not None and request.headers.get("if-range", tag) != tag:
        wanted = None
    part = part_of(wanted, size)
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
    """Bytes of a file; `partial` when a range was asked for."""

    start: int
    length: int
    partial: bool = True


def part_of(wanted: str | None, size: int) -> ByteRange | None:
    """What a Range header asks for; None where it asks for nothing there is.

    Several ranges at once, other units and nonsense are passed over, as the standard allows: the whole is sent.
    """
    whole = ByteRange(0, size, partial=False)
    found = _RANGE.fullmatch(wanted) if wanted is not None else None
    if found is None:
        return whole
    first, last, suffix = found.groups()
    if suffix is not None:
        length = min(int(suffix), size)
        return ByteRange(size - length, length) if length else None
    start = int(first)
    if last is not None and int(last) < start:
        return whole
    end = min(int(last), size - 1) if last is not None else size - 1
    return ByteRange(start, end - start + 1) if start < size else None


def disposition(file_name: str) -> str:
    """Content-Disposition of a download, also for names that are not ASCII."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", file_name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"
