"""Bodies of requests as clients send them: JSON, also under a wrong type; forms; forms with files.

Files of a form go into the artifact store piece by piece. Files that stand in JSON as base64 do so too
(`embedded_files`). What is left of a body is held to the limit of `body_bytes`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from starlette.requests import ClientDisconnect

from acestep_flows.api.http.dependencies import in_thread
from acestep_flows.api.http.form_parser import FormParser, FormPart
from acestep_flows.api.http.form_upload import FORM, form_boundary
from acestep_flows.api.http.json_body import unique
from acestep_flows.api.http.uploads import WRITE_BYTES
from acestep_flows.api.service import Service
from acestep_flows.api.store.artifacts import Upload
from acestep_flows.compat.embedded_files import EmbeddedFiles
from acestep_flows.compat.files import ReceivedFile, received
from acestep_flows.compat.parsing import read_json
from acestep_flows.errors import InputError, TooLarge

URL_ENCODED = "application/x-www-form-urlencoded"
MOST_FIELDS = 1000
SMALL = 4096
"""Bytes that are looked through at once without a thread."""


@dataclass(frozen=True)
class Body:
    """What a request brought.

    Attributes:
        fields: by name. Of a form they are texts; one that came several times is a list.
        files: files of a form by the name of their field, in order.
        embedded: files that stood in JSON as base64, by the text that stands for them now.
        digest: of all of it. A client that sends the same again sends the same digest.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    files: dict[str, list[ReceivedFile]] = field(default_factory=dict)
    embedded: dict[str, ReceivedFile] = field(default_factory=dict)
    digest: str = ""


async def read_body(request: Request, service: Service) -> Body:
    """The body of a request; without one, no fields.

    Raises:
        InputError: it is neither JSON with an object nor a form, or a file in it is not audio.
        TooLarge: it has more than `body_bytes` beside its files.
    """
    content_type = request.headers.get("content-type", "")
    message = Message()
    message["content-type"] = content_type
    kind = message.get_content_type() if content_type else ""
    try:
        if kind == FORM:
            boundary = form_boundary(content_type)
            assert boundary is not None
            with ExitStack() as stack:
                return await _FormReader(service, stack, boundary).read(request.stream())
        with ExitStack() as stack:
            return await _read_text(request.stream(), service, stack, is_form=kind == URL_ENCODED)
    except ClientDisconnect:
        raise InputError("the client disconnected before the end of the body", where="body") from None


async def _read_text(stream: AsyncIterator[bytes], service: Service, stack: ExitStack, is_form: bool) -> Body:
    options = service.options
    reader = EmbeddedFiles(
        options.body_bytes, lambda: stack.enter_context(service.home.artifacts.upload(options.upload_bytes))
    )
    async for chunk in stream:
        if len(chunk) > SMALL or reader.in_file:
            await in_thread(reader.feed, chunk)  # it writes
        else:
            reader.feed(chunk)
    content = bytes(reader.json)
    if is_form and not content.lstrip().startswith(b"{"):
        return Body(_form_fields(content), digest=hashlib.sha256(content).hexdigest())
    fields = _object(content)
    embedded = {
        marker: await received(service, upload, reader.fields[marker])
        for marker, upload in (await in_thread(reader.finish)).items()
    }
    for marker, file in embedded.items():
        content = content.replace(marker.encode(), file.blob.digest.encode())
    return Body(fields, {}, embedded, hashlib.sha256(content).hexdigest())


def _object(content: bytes) -> dict[str, Any]:
    """The object of a JSON text; an empty text is an empty one."""
    if not content.strip():
        return {}
    try:
        fields = read_json(content, unique)
    except (ValueError, RecursionError) as error:
        raise InputError(_not_json(error), where="body", allowed="a JSON object, or a form") from None
    if not isinstance(fields, dict):
        raise InputError("not an object", where="body", allowed="a JSON object, or a form")
    return fields


def _not_json(error: Exception) -> str:
    """What is wrong with a JSON text. Files in it were taken out, so its columns are not the client's."""
    if not isinstance(error, json.JSONDecodeError):
        return "not JSON"
    return f"not JSON at line {error.lineno}: {error.msg[:1].lower()}{error.msg[1:]}"


def _form_fields(content: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(content.decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise InputError("a damaged form", where="body", allowed="fields as name=value, in UTF-8") from None
    fields: dict[str, Any] = {}
    for name, value in pairs:
        _add(fields, name, value)
    return fields


def _add(fields: dict[str, Any], name: str, value: str) -> None:
    if name not in fields:
        fields[name] = value
    elif isinstance(fields[name], list):
        fields[name].append(value)
    else:
        fields[name] = [fields[name], value]


class _FormReader:
    """Reads a multipart form: fields into memory, files into uploads."""

    def __init__(self, service: Service, stack: ExitStack, boundary: bytes) -> None:
        self._service, self._stack, self._parser = service, stack, FormParser(boundary)
        self._body = Body()
        self._part: FormPart | None = None
        self._text = bytearray()
        self._upload: Upload | None = None
        self._size = 0

    async def read(self, stream: AsyncIterator[bytes]) -> Body:
        """The body, when it has come to its end."""
        try:
            async for chunk in stream:
                for item in self._parser.feed(chunk):
                    await (self._begin(item) if isinstance(item, FormPart) else self._take(item))
        except ValueError:
            raise InputError("a damaged form", where="body", allowed="multipart/form-data") from None
        await self._end()
        if not self._parser.ended:
            raise InputError("a form that ends early", where="body", allowed="multipart/form-data")
        files = {name: [file.blob.digest for file in files] for name, files in self._body.files.items()}
        content = json.dumps([self._body.fields, files], sort_keys=True).encode()
        return dataclasses.replace(self._body, digest=hashlib.sha256(content).hexdigest())

    async def _begin(self, part: FormPart) -> None:
        await self._end()
        self._part = part
        if part.file_name is not None:
            upload = await in_thread(self._service.home.artifacts.upload, self._service.options.upload_bytes)
            self._upload = self._stack.enter_context(upload)

    async def _take(self, content: bytes) -> None:
        self._text += content
        if self._upload is not None:
            if len(self._text) >= WRITE_BYTES:
                await self._write()
            return
        self._size += len(content)
        if self._size > (most := self._service.options.body_bytes):
            raise TooLarge(f"the fields of the form have more than {most} bytes; that is the limit")

    async def _write(self) -> None:
        assert self._upload is not None
        await in_thread(self._upload.write, bytes(self._text))
        self._text.clear()

    async def _end(self) -> None:
        """End the part at hand. A file without a byte is what browsers send for none."""
        part, self._part = self._part, None
        if part is None:
            return
        if self._upload is None:
            _add(self._body.fields, part.name, self._text.decode("utf-8", "replace"))
        else:
            await self._write()
            if self._upload.bytes:
                file = await received(self._service, self._upload, part.name, part.file_name or "")
                self._body.files.setdefault(part.name, []).append(file)
        self._upload = None
        self._text.clear()
