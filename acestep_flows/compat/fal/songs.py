"""The applications of fal-ai/ace-step: their fields, and the graph and inputs that these make together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from acestep_flows.compat.exchange import Exchange
from acestep_flows.compat.fetching import ALLOWED
from acestep_flows.compat.fields import INSTRUMENTAL, Draft, FieldRow, settle_words, translate
from acestep_flows.compat.given_audio import given_audio
from acestep_flows.compat.parsing import anything, boolean, choice, integer, is_absent, number, text
from acestep_flows.compat.refusal import Refusal
from acestep_flows.compat.song_rows import drop, settle_seed, settle_song, song_rows

SECONDS = 60.0
"""Of a song without a length."""

SETTINGS = (
    FieldRow("number_of_steps", integer(3, 60), "steps"),
    *song_rows("seed scheduler=solver guidance_type=guidance granularity_scale=omega guidance_interval"),
    *song_rows("guidance_interval_decay=guidance_decay guidance_scale minimum_guidance_scale=guidance_minimum"),
    *song_rows("tag_guidance_scale=guidance_scale_text lyric_guidance_scale=guidance_scale_lyric"),
)
WORDS = (FieldRow("tags", text(), "tags", required=True), *song_rows("lyrics"))
LENGTH = FieldRow("duration", number(5, 240), "duration")
SOURCE = FieldRow("audio_url", anything(), "source", required=True)
SIDES = choice(("start", "end"))

BASE = (*WORDS, LENGTH, *SETTINGS)
PROMPT = (FieldRow("prompt", text(), "tags", required=True), FieldRow("instrumental", boolean()), LENGTH, *SETTINGS)
EDIT = (
    SOURCE,
    FieldRow("edit_mode", choice({"remix": "remix", "lyrics": "edit-lyrics"})),
    FieldRow("original_tags", text(), "tags", required=True),
    FieldRow("original_lyrics", text(), "lyrics"),
    FieldRow("tags", text(), "new_tags", required=True),
    FieldRow("lyrics", text(), "new_lyrics"),
    FieldRow("original_seed", integer()),
    *SETTINGS,
)
INPAINT = (
    SOURCE,
    *WORDS,
    FieldRow("start_time", number(0)),
    FieldRow("start_time_relative_to", SIDES),
    FieldRow("end_time", number(0)),
    FieldRow("end_time_relative_to", SIDES),
    FieldRow("variance", number(0, 1), "variance"),
    *SETTINGS,
)
OUTPAINT = (
    SOURCE,
    *WORDS,
    FieldRow("extend_before_duration", number(0, 239), "left"),
    FieldRow("extend_after_duration", number(0, 239), "right"),
    *SETTINGS,
)


def _base(draft: Draft, source: float) -> None:
    settle_words(draft, "tags", "lyrics")
    settle_song(draft, SECONDS)


def _prompt(draft: Draft, source: float) -> None:
    _require(draft, "tags", "prompt")
    instrumental = draft.values.get("instrumental", False)
    draft.put("lyrics", INSTRUMENTAL if instrumental else "")
    if not instrumental:
        draft.warn("instrumental", False, "no language model that writes lyrics is served here; nothing is sung")
    settle_song(draft, SECONDS)


def _require(draft: Draft, input: str, name: str) -> None:
    if is_absent(draft.inputs.get(input)):
        raise Refusal(name, draft.inputs.get(input), "tags, or a description", "empty", kind="missing")


def _edit(draft: Draft, source: float) -> None:
    """Another style with the same words, or other words in the same style."""
    draft.graph = draft.values.get("edit_mode", "remix")
    settle_words(draft, "original_tags", "original_lyrics")
    lyrics = draft.inputs.setdefault("lyrics", "")
    if draft.graph == "remix":
        _require(draft, "new_tags", "tags")
        if draft.inputs.pop("new_lyrics", lyrics) != lyrics:
            draft.warn(
                "lyrics", draft.values["lyrics"], "not sung; remix keeps the words, and edit_mode lyrics the style"
            )
    else:
        draft.inputs.setdefault("new_lyrics", "")
        if draft.inputs.pop("new_tags", draft.inputs["tags"]) != draft.inputs["tags"]:
            draft.warn("tags", draft.values["tags"], "not used; lyrics keeps the style, edit_mode remix changes it")
    if (seed := draft.values.get("original_seed")) is not None:
        drop(draft, "seed", "not used; original_seed comes first")
        draft.put("seed", seed, "original_seed")
    settle_seed(draft)


def _inpaint(draft: Draft, source: float) -> None:
    draft.graph = "repaint"
    settle_words(draft, "tags", "lyrics")
    settle_seed(draft)
    start, end = (_time(draft, name, usual, source) for name, usual in (("start_time", 0.0), ("end_time", 30.0)))
    if end > source:
        draft.warn("end_time", draft.values.get("end_time", 30), f"cut to the end of the audio, {source:g} s")
        end = source
    if not 0 <= start < end:
        raise Refusal("start_time", draft.values.get("start_time", 0), f"less than the end, {end:g} s into the audio")
    draft.put("span", [start, end], "start_time")


def _time(draft: Draft, name: str, usual: float, source: float) -> float:
    """A time in seconds from the start of the audio."""
    value = float(draft.values.get(name, usual))
    return round(source - value, 3) if draft.values.get(f"{name}_relative_to") == "end" else value


def _outpaint(draft: Draft, source: float) -> None:
    draft.graph = "extend"
    settle_words(draft, "tags", "lyrics")
    settle_seed(draft)


APPS: Mapping[str, tuple[tuple[FieldRow, ...], Callable[[Draft, float], None]]] = {
    "": (BASE, _base),
    "prompt-to-audio": (PROMPT, _prompt),
    "audio-to-audio": (EDIT, _edit),
    "audio-inpaint": (INPAINT, _inpaint),
    "audio-outpaint": (OUTPAINT, _outpaint),
}
"""The fields of each application, and what joins them, with the length of the source in seconds."""


def read_fields(app: str, fields: Mapping[str, Any], draft: Draft) -> Draft:
    """Read the fields of an application into a draft. Audio is still what the client sent.

    Raises:
        InputError: fields are missing or not usable.
    """
    table, _ = APPS[app]
    draft.format = "wav"
    translate(table, fields, draft)
    if SOURCE in table and "source" not in draft.inputs:
        raise Refusal(SOURCE.name, fields.get(SOURCE.name), ALLOWED, "empty", kind="missing")
    return draft


def settle(app: str, draft: Draft, source: float = 0.0) -> Draft:
    """Join what several fields say together.

    Args:
        source: the length of the audio in seconds.

    Raises:
        InputError: what was sent cannot be done together.
    """
    _, join = APPS[app]
    join(draft, source)
    return draft


async def song_of(exchange: Exchange, app: str, fields: Mapping[str, Any]) -> Draft:
    """The song that the fields of an application ask for.

    Raises:
        InputError: fields are missing or not usable.
    """
    draft = read_fields(app, fields, await exchange.draft())
    if "source" not in draft.inputs:
        return settle(app, draft)
    source = await given_audio(exchange, draft.inputs["source"], SOURCE.name)
    draft.inputs["source"] = source.asset
    return settle(app, draft, source.seconds)
