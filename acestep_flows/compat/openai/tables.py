"""The fields of POST /v1/chat/completions and of POST /v1/audio/speech, and what becomes of each.

A field of an object within the body is named with a point: `audio_config.duration`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from acestep_flows.compat.fields import Draft, FieldRow, ignored, translate
from acestep_flows.compat.model_list import UNNAMED
from acestep_flows.compat.parsing import anything, boolean, choice, integer, is_absent, number, seeds, text
from acestep_flows.compat.refusal import Refusal
from acestep_flows.compat.song_rows import put_format
from acestep_flows.compat.song_tasks import METRES, TASKS
from acestep_flows.text.languages import SUPPORTED

OBJECTS = ("audio_config", "audio")
FORMATS = ("mp3", "wav", "flac", "ogg")
MOST_TAKES = 8
NO_LANGUAGE_MODEL = "no language model is served here"
NO_VOICES = "this model has no voices to choose from; describe one in the tags"


def _model(draft: Draft, name: str) -> None:
    if name not in (draft.model.name, UNNAMED):
        draft.warn("model", name, f"this server's model is used, {draft.model.name or UNNAMED}")


def _metre(value: Any) -> str:
    word: str = text(10)(value).strip()
    return METRES.get(word, word)


def _language(draft: Draft, code: str) -> None:
    language = re.split("[-_]", code.strip().lower())[0]
    if language in SUPPORTED:
        draft.put("language", language, "audio_config.vocal_language")
    elif language != "unknown":
        told = f"the language of the lyrics is detected; it may be {', '.join(SUPPORTED)}"
        draft.warn("audio_config.vocal_language", code, told)


def _modalities(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(name in ("text", "audio") for name in value):
        raise ValueError('a list of "text" and "audio"')
    return value


def _without_effect(draft: Draft, value: Any) -> None:
    """Of what would shape a text, and no song has."""


def _no_model(name: str) -> FieldRow:
    return ignored(name, NO_LANGUAGE_MODEL, False, parse=boolean())


def _config(name: str, parse: Callable[[Any], Any], becomes: Any = "") -> FieldRow:
    return FieldRow(f"audio_config.{name}", parse, becomes, aliases=(name,))


_SONG = (
    FieldRow("model", text(200), _model),
    FieldRow("seed", seeds(MOST_TAKES)),
    FieldRow("guidance_scale", number(0, 30), "guidance_scale"),
    FieldRow("inference_steps", integer(1, 200), "steps"),
)

CHAT = (
    *_SONG,
    FieldRow("stream", boolean()),
    FieldRow("lyrics", text(), "lyrics"),
    FieldRow("batch_size", integer(1, MOST_TAKES)),
    FieldRow("task_type", choice(TASKS)),
    FieldRow("repainting_start", number()),
    FieldRow("repainting_end", number()),
    FieldRow("audio_cover_strength", number(0, 1)),
    FieldRow("modalities", _modalities),
    ignored("audio.voice", NO_VOICES),
    FieldRow("audio.format", choice(FORMATS), put_format),
    _config("duration", number(0.1, 240), "duration"),
    _config("bpm", number(1, 1000)),
    _config("key_scale", text(100)),
    _config("time_signature", _metre),
    _config("vocal_language", text(20), _language),
    _config("instrumental", boolean()),
    _config("format", choice(FORMATS), put_format),
    FieldRow("temperature", anything(), _without_effect),
    FieldRow("top_p", anything(), _without_effect),
    _no_model("sample_mode"),
    _no_model("thinking"),
    _no_model("use_format"),
)
"""Rows without an effect of their own are joined by `songs`. A format of `audio_config` comes before one of `audio`."""

SPEECH = (
    *_SONG,
    FieldRow("input", text(), "lyrics"),
    FieldRow("instructions", text(), "tags"),
    FieldRow("response_format", choice(FORMATS), put_format),
    FieldRow("duration", number(0.1, 240), "duration"),
    ignored("voice", NO_VOICES),
    ignored("speed", "a song has its own tempo; name one in instructions", 1.0, parse=number()),
    FieldRow("stream_format", choice(("audio",)), _without_effect),
)


def flattened(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a body, with those of its objects under names with a point.

    Raises:
        Refusal: one of these is no object.
    """
    flat = {name: value for name, value in fields.items() if name not in OBJECTS}
    for container in OBJECTS:
        if is_absent(nested := fields.get(container)):
            continue
        if not isinstance(nested, dict):
            raise Refusal(container, nested, "an object")
        flat |= {f"{container}.{name}": value for name, value in nested.items()}
    return flat


def _of_patterns(fields: Mapping[str, Any]) -> Iterator[FieldRow]:
    return (_no_model(name) for name in fields if name.startswith("use_cot_"))


def read_chat(fields: Mapping[str, Any], draft: Draft) -> Draft:
    """Read the fields of a chat completion, without its messages. `songs.settle` joins what they say together.

    Raises:
        InputError: fields are not usable.
    """
    draft.format = "mp3"
    flat = flattened(fields)
    del flat["messages"]
    return translate((*CHAT, *_of_patterns(flat)), flat, draft)


def read_speech(fields: Mapping[str, Any], draft: Draft) -> Draft:
    """Read the fields of speech: `input` is sung.

    Raises:
        InputError: fields are not usable.
    """
    draft.format = "mp3"
    return translate(SPEECH, fields, draft)
