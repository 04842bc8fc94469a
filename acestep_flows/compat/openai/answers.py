"""Answers in the form of chat completions, whole and in pieces.

Songs stand in them as base64, which is made while it is sent: no song is whole in memory.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from acestep_flows.api.http.dependencies import in_thread
from acestep_flows.api.store.records import AssetRecord, RunRecord
from acestep_flows.compat import links
from acestep_flows.compat.exchange import Exchange
from acestep_flows.compat.fields import Draft, shown
from acestep_flows.compat.model_list import UNNAMED
from acestep_flows.compat.openai.songs import ASKED
from acestep_flows.compat.takes import Take

WHOLE, PIECE = "chat.completion", "chat.completion.chunk"
_GROUP = 3 << 16
"""Bytes that become base64 at once; a multiple of 3."""


@dataclass
class FilledJson:
    """JSON with files in it, whose base64 is written when it is sent."""

    files: dict[str, Iterator[bytes]] = field(default_factory=dict)

    async def file(self, exchange: Exchange, asset: AssetRecord) -> str:
        """The text that stands for a file.

        Raises:
            NotFound: the file was removed.
        """
        marker = f"file-{secrets.token_hex(16)}"
        self.files[marker] = await in_thread(exchange.service.home.artifacts.chunks, asset.digest)
        return marker

    def pieces(self, content: Any, before: str = "", after: str = "") -> Iterator[bytes]:
        """The JSON of `content`, piece by piece. Blocks while files are read."""
        yield before.encode()
        for part in re.split("(file-[0-9a-f]{32})", json.dumps(content, ensure_ascii=False)):
            file = self.files.pop(part, None)
            yield from [part.encode("utf-8", "replace")] if file is None else base64_of(file)
        yield after.encode()


def base64_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Bytes as base64."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        if len(rest) >= _GROUP:
            whole = len(rest) - len(rest) % 3
            yield b64encode(rest[:whole])
            rest = rest[whole:]
    yield b64encode(rest)


@dataclass(frozen=True)
class Answer:
    """What a run of a chat has made.

    Attributes:
        exchange: the request.
        draft: what it asked for.
        record: its run, which has succeeded.
        takes: its songs.
    """

    exchange: Exchange
    draft: Draft
    record: RunRecord
    takes: Sequence[Take]

    @property
    def wants_object(self) -> bool:
        """Whether the client asked for OpenAI's own form of audio."""
        values = self.draft.values
        asked = "audio" in values.get("modalities", ())
        return asked and any(name in values for name in ("audio.voice", "audio.format"))

    @property
    def text(self) -> str:
        """What the songs are, for people."""
        tags, lyrics = self.record.inputs.get("tags", ""), self.record.inputs.get("lyrics", "")
        seconds = self.takes[0].asset.details.get("seconds", 0.0)
        asked = self.record.inputs.get("duration", seconds)
        seeds = ", ".join(str(take.seed) for take in self.takes if take.seed is not None)
        lines = [f"**Caption:** {tags}", f"**Duration:** {shown(round(asked, 2))}s"]
        lines += [
            f"**{title}:** {self.record.labels[name]}" for name, title in ASKED.items() if name in self.record.labels
        ]
        lines += [f"**Seed:** {seeds}"]
        parts = ["## Metadata\n" + "\n".join(lines)]
        if lyrics:
            parts.append(f"## Lyrics\n{lyrics}")
        if self.record.warnings:
            parts.append("## Warnings\n" + "\n".join(f"- {line}" for line in self.record.warnings))
        return "\n\n".join(parts)

    async def audio(self, body: FilledJson) -> Any:
        """The songs: all of them as `data:` URLs, or the first as OpenAI has audio."""
        if self.wants_object:
            take = self.takes[0]
            return {
                "id": take.asset.id,
                "data": await body.file(self.exchange, take.asset),
                "expires_at": int(time.time()) + links.SECONDS,
                "transcript": str(self.record.inputs.get("lyrics", "")),
            }
        return [
            {
                "type": "audio_url",
                "audio_url": {
                    "url": f"data:{take.asset.content_type};base64,{await body.file(self.exchange, take.asset)}"
                },
            }
            for take in self.takes
        ]

    async def completion(self) -> Iterator[bytes]:
        """The whole answer, piece by piece."""
        body = FilledJson()
        message = {"role": "assistant", "content": self.text, "audio": await self.audio(body)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        return body.pieces(
            envelope(self.record, self.draft.model.name, WHOLE)
            | {"choices": [choice], "usage": usage, "warnings": list(self.record.warnings), "run": self.record.id}
        )


def envelope(record: RunRecord, model: str, kind: str) -> dict[str, Any]:
    """What every answer about a run begins with."""
    id = f"chatcmpl-{record.id.removeprefix('run-')}"
    return {"id": id, "object": kind, "created": int(record.created_at), "model": model or UNNAMED}


def chunk(record: RunRecord, model: str, delta: Any, finish: str | None = None) -> dict[str, Any]:
    """A piece of a streamed answer."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return envelope(record, model, PIECE) | {"choices": [choice]}


def event(content: Any) -> bytes:
    """One event of a stream."""
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n".encode("utf-8", "replace")


DONE = b"data: [DONE]\n\n"
