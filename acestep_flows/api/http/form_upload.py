"""Reads the file out of a form while it arrives, as `curl -F file=@song.wav` sends it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.message import Message

from acestep_flows.api.http.form_parser import FormParser, FormPart
from acestep_flows.errors import InputError
from acestep_flows.graph.language.wording import clip

FORM = "multipart/form-data"
ALLOWED = "one file, as curl -F file=@song.wav sends it, or the bytes of the file as the whole body"
NAME_FIELD = "file_name"
"""Field with a name for the file, beside the file."""

LONGEST_NAME_BYTES = 2000
LONGEST_BOUNDARY = 200


def form_boundary(content_type: str) -> bytes | None:
    """The boundary of a form; None if the body is not a form.

    Raises:
        InputError: a form without a boundary.
    """
    message = Message()
    message["content-type"] = content_type
    if message.get_content_type() != FORM:
        return None
    boundary = message.get_param("boundary")
    if not isinstance(boundary, str) or not 0 < len(boundary) <= LONGEST_BOUNDARY or not boundary.isascii():
        raise InputError("a form without a boundary", where="Content-Type", allowed=ALLOWED)
    return boundary.encode()


class FormFile:
    """The one file of a form.

    Args:
        stream: the body of the request.
        boundary: the boundary of the form.
    """

    def __init__(self, stream: AsyncIterator[bytes], boundary: bytes) -> None:
        self._stream, self._parser = stream, FormParser(boundary)
        self._has_file = self._in_file = False
        self._file_name, self._name_field = "", b""

    @property
    def name(self) -> str:
        """The file's name: that of the field `file_name`, else its own. Known once the content was read."""
        return self._name_field.decode("utf-8", "replace") or self._file_name

    async def chunks(self) -> AsyncIterator[bytes]:
        """The content of the file as it arrives.

        Raises:
            InputError: the form is damaged, has no file, several files, or a field that is not known.
        """
        try:
            async for received in self._stream:
                for item in self._parser.feed(received):
                    if isinstance(item, FormPart):
                        self._begin(item)
                    elif self._in_file:
                        yield item
                    else:
                        self._extend_name(item)
        except ValueError:
            raise InputError("a damaged form", where="body", allowed=ALLOWED) from None
        if not self._has_file or not self._parser.ended:
            what = "a form that ends early" if self._has_file else "a form without a file"
            raise InputError(what, where="body", allowed=ALLOWED)

    def _begin(self, part: FormPart) -> None:
        self._in_file = part.file_name is not None
        if part.file_name is not None:
            if self._has_file:
                raise InputError("several files", where="body", allowed=ALLOWED)
            self._has_file, self._file_name = True, part.file_name
        elif part.name != NAME_FIELD:
            what = "text; curl sends a file with @" if part.name == "file" else "no such field"
            raise InputError(what, where=clip(part.name), allowed=f"{ALLOWED}; a field {NAME_FIELD} beside it")

    def _extend_name(self, content: bytes) -> None:
        self._name_field += content
        if len(self._name_field) > LONGEST_NAME_BYTES:
            raise InputError("a long name", where=NAME_FIELD, allowed=f"at most {LONGEST_NAME_BYTES} bytes")
