"""Messages of a chat: the last one of the user has words about a song, and perhaps audio."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from acestep_flows.compat.fields import Draft
from acestep_flows.compat.refusal import Refusal

ALLOWED = "a list with a message of the user: a text, or parts of type text, input_audio and audio_url"
SHORT_LINE, FEWEST_LINES = 60, 3
"""Characters of a line and number of lines from which on a text is taken for lyrics."""

_TAGGED = re.compile(r"<(prompt|lyrics)>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
_STRUCTURE = re.compile(r"^\s*\[[^\[\]\n]{1,60}\]", re.MULTILINE)


@dataclass(frozen=True)
class Message:
    """What the user says last.

    Attributes:
        text: its words.
        audio: its audio in order: a name of the place for messages, and base64, a `data:` URL or an address.
    """

    text: str
    audio: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Words:
    """A text as the words of a song.

    Attributes:
        tags: None if it has none.
        lyrics: None if it has none.
        told: whether it says itself which is which.
        rest: what stands beside them.
    """

    tags: str | None = None
    lyrics: str | None = None
    told: bool = False
    rest: str = ""


def last_of_user(messages: Any, draft: Draft) -> Message:
    """The last message of the user.

    Raises:
        Refusal: there is none, or it cannot be read.
    """
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise Refusal("messages", messages, ALLOWED)
    ours = [at for at, message in enumerate(messages) if message.get("role") == "user"]
    if not ours:
        raise Refusal("messages", messages, ALLOWED, "no message of the user")
    if len(messages) > 1:
        draft.warn("messages", messages, "the last one of the user is read")
    content = messages[ours[-1]].get("content")
    where = f"messages[{ours[-1]}].content"
    if isinstance(content, str):
        return Message(content)
    if not isinstance(content, list):
        raise Refusal(where, content, ALLOWED)
    texts: list[str] = []
    audio: list[tuple[str, Any]] = []
    for at, part in enumerate(content):
        _read_part(part, f"{where}[{at}]", texts, audio, draft)
    return Message("\n".join(texts), tuple(audio))


def _read_part(part: Any, where: str, texts: list[str], audio: list[tuple[str, Any]], draft: Draft) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        texts.append(part["text"])
    elif kind in ("input_audio", "audio_url"):
        name = "data" if kind == "input_audio" else "url"
        holder = part.get(kind)
        if not isinstance(holder, dict):
            raise Refusal(f"{where}.{kind}", holder, f"an object with {name}")
        audio.append((f"{where}.{kind}.{name}", holder.get(name)))
    elif isinstance(kind, str) and kind != "text":
        draft.warn(f"{where}.type", kind, "not read; text, input_audio and audio_url are")
    else:
        raise Refusal(where, part, ALLOWED)


def words_of(text: str, has_lyrics: bool) -> Words:
    """What of a text are tags, and what lyrics.

    Args:
        has_lyrics: whether the lyrics stand elsewhere, so that the text has only tags.
    """
    tagged = {name.lower(): content for name, content in reversed(_TAGGED.findall(text))}
    if tagged:
        tags = tagged.get("prompt", "").strip() or None
        lyrics = tagged.get("lyrics", "").strip("\r\n") or None
        return Words(tags, lyrics, True, _TAGGED.sub("", text).strip())
    if not text.strip():
        return Words()
    if has_lyrics:
        return Words(text, None, True)
    return Words(None, text) if looks_like_lyrics(text) else Words(text)


def looks_like_lyrics(text: str) -> bool:
    """Whether a text has marks of structure such as [verse], or several short lines."""
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(_STRUCTURE.search(text)) or (
        len(lines) >= FEWEST_LINES and all(len(line) <= SHORT_LINE for line in lines)
    )
