"""The fields of POST /release_task, and what becomes of each.

Names come in snake_case and in camelCase. `metas` and its likes hold fields that the body itself may lack.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from acestep_flows.compat.fields import Draft, FieldRow, ignored, refused, translate
from acestep_flows.compat.parsing import FALSE, boolean, choice, integer, is_absent, json_object, number, seeds, text
from acestep_flows.compat.refusal import Refusal
from acestep_flows.compat.song_rows import put_adapter
from acestep_flows.compat.song_tasks import METRES, TASKS
from acestep_flows.text.languages import SUPPORTED

NESTED = ("metas", "metadata", "user_metadata", "param_obj")
"""Objects, also as JSON text, with fields that are missing in the body."""

FORMATS = {"mp3": "mp3", "wav": "wav", "flac": "flac", "ogg": "ogg", "wav32": "wav32"}
NO_LANGUAGE_MODEL = "no language model is served here"
AUTOMATIC = -1.0
"""A length that the language model of 1.5 would choose."""

AUDIO = {"src_audio": ("ctx_audio",), "reference_audio": ("ref_audio",)}
"""Audio of a request, and the other names of each."""


def _format(draft: Draft, name: str) -> None:
    draft.format = name.removesuffix("32")
    if name != draft.format:
        draft.warn("audio_format", name, f"{draft.format} is made, with samples of the usual type")


def _duration(draft: Draft, seconds: float) -> None:
    if seconds == AUTOMATIC:
        del draft.values["audio_duration"]
    else:
        draft.put("duration", seconds, "audio_duration")


def _seconds() -> Callable[[Any], float]:
    between, any_number = number(0.1, 240), number()
    return lambda value: AUTOMATIC if any_number(value) == AUTOMATIC else between(value)


def _timesteps(draft: Draft, times: list[float]) -> None:
    draft.put("steps", len(times) - 1, "timesteps")
    draft.warn("timesteps", times, f"the model has times of its own; {len(times) - 1} steps are made")


def _times(value: Any) -> list[float]:
    parts = value.strip().strip("[]").split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not 2 <= len(parts) <= 201:
        raise ValueError("2 to 201 numbers")
    return [number()(part) for part in parts]


def _language(draft: Draft, code: str) -> None:
    language = code.strip().lower().split("-")[0].split("_")[0]
    if language in SUPPORTED:
        draft.put("language", language, "vocal_language")
    elif language != "unknown":
        draft.warn("vocal_language", code, f"the language of the lyrics is detected; it may be {', '.join(SUPPORTED)}")


def _model(draft: Draft, name: str) -> None:
    if name != draft.model.name:
        draft.warn("model", name, f"this server's model is used, {draft.model.name or 'of its own'}")


def _metre(value: Any) -> str:
    metre: str = text(20)(value).strip().removesuffix(".0")
    return METRES.get(metre, metre)


def _no_model(name: str, *aliases: str) -> FieldRow:
    return ignored(name, NO_LANGUAGE_MODEL, False, parse=_switch, aliases=aliases)


def _switch(value: Any) -> Any:
    """False where a value switches something off; else the value."""
    return False if format(value).strip().lower() in FALSE else value


TABLE = (
    FieldRow("prompt", text(), "tags", aliases=("caption",)),
    FieldRow("lyrics", text(), "lyrics"),
    FieldRow("instrumental", boolean()),
    FieldRow("audio_duration", _seconds(), _duration, aliases=("duration", "target_duration")),
    FieldRow("inference_steps", integer(1, 200), "steps"),
    FieldRow("timesteps", _times, _timesteps),
    FieldRow("guidance_scale", number(0, 30), "guidance_scale"),
    FieldRow("use_random_seed", boolean()),
    FieldRow("seed", seeds(8)),
    FieldRow("batch_size", integer(1, 8)),
    FieldRow("audio_format", choice(FORMATS), _format),
    FieldRow("task_type", choice(TASKS)),
    FieldRow("repainting_start", number()),
    FieldRow("repainting_end", number()),
    FieldRow("audio_cover_strength", number(0, 1)),
    FieldRow("repaint_strength", number(0, 1)),
    FieldRow("repaint_mode", choice({"conservative": 0.2, "balanced": 0.5, "aggressive": 1.0})),
    FieldRow("bpm", number(1, 1000)),
    FieldRow("key_scale", text(100), aliases=("keyscale", "key")),
    FieldRow("time_signature", _metre, aliases=("timesignature",)),
    FieldRow("vocal_language", text(20), _language),
    FieldRow("infer_method", choice({"ode": "euler", "sde": "pingpong"}), "solver"),
    FieldRow("cfg_interval_start", number(0, 1)),
    FieldRow("cfg_interval_end", number(0, 1)),
    FieldRow("model", text(200), _model, aliases=("dit_model",)),
    FieldRow("lora_name_or_path", text(200), put_adapter),
    FieldRow("lora_weight", number(-10, 10), "adapter_weight"),
    FieldRow("sample_query", text(), aliases=("description", "desc")),
    _no_model("sample_mode"),
    _no_model("thinking"),
    _no_model("use_format", "format"),
    _no_model("is_format_caption"),
    _no_model("allow_lm_batch"),
    refused("audio_code_string", "nothing, or source audio in src_audio", ""),
    *(refused(name, "false", False, parse=_switch) for name in ("analysis_only", "full_analysis_only")),
    refused("extract_codes_only", "false", False, parse=_switch),
    ignored("negative_prompt", "this model takes no negative prompt"),
    ignored("global_caption", "not used; give all in prompt"),
    ignored("instruction", "this model takes no instruction"),
    ignored("track_name", "this model knows no tracks"),
    ignored("shift", "the model has a shift of its own", 3.0, parse=number()),
    ignored("use_adg", "guidance is the model's own", False, parse=boolean()),
    ignored("use_tiled_decode", "the operator sets how it is decoded", True, parse=boolean()),
    ignored("cover_noise_strength", "audio_cover_strength alone counts", 0.0, parse=number()),
)
"""Rows without an effect of their own are joined by `songs`."""

PATTERNS: Mapping[str, Callable[[str], FieldRow]] = {
    r"lm_\w+|use_cot_\w+|constrained_decoding\w*": _no_model,
    r"repaint_\w+_crossfade_\w+": lambda name: ignored(name, "the seam is made here in one way"),
    r"dcw_\w+": lambda name: ignored(name, "this model has no such correction", False, parse=_switch),
}
"""Rows for fields that are named by a pattern, in snake_case."""


def snake(name: str) -> str:
    """A name in snake_case."""
    return re.sub(r"(?<=[a-z0-9])[A-Z]", lambda capital: f"_{capital[0]}", name).lower()


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda part: part[1].upper(), name)


def _spelled(row: FieldRow) -> FieldRow:
    """A row that is also found under its names in camelCase."""
    names = (*row.names, *(_camel(name) for name in row.names))
    return dataclasses.replace(row, aliases=tuple(name for name in dict.fromkeys(names) if name != row.name))


ROWS = tuple(_spelled(row) for row in TABLE)


def _patterned(fields: Mapping[str, Any]) -> Iterator[FieldRow]:
    known = {name for row in ROWS for name in row.names}
    for name in fields:
        for pattern, row in PATTERNS.items():
            if name not in known and re.fullmatch(pattern, snake(name)):
                yield dataclasses.replace(row(snake(name)), aliases=(name,))


def gathered(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a body, with those that it has only within `metas` and its likes.

    Raises:
        Refusal: one of these is no object.
    """
    own = {name: value for name, value in fields.items() if snake(name) not in NESTED}
    for container in (name for name in fields if snake(name) in NESTED):
        if is_absent(fields[container]):
            continue
        try:
            nested = json_object(fields[container])
        except ValueError as error:
            raise Refusal(container, fields[container], str(error)) from None
        for name, value in nested.items():
            row = next((row for row in ROWS if name in row.names), None)
            if is_absent(own.get(name)) and (row is None or row.sent(own) is None):
                own[name] = value
    return own


def read_fields(fields: Mapping[str, Any], draft: Draft) -> Draft:
    """Read the fields of a body (`gathered`) into a draft. `songs.settle` joins what several of them say together.

    Raises:
        InputError: fields are not usable.
    """
    draft.format = "mp3"
    return translate((*ROWS, *_patterned(fields)), fields, draft)
