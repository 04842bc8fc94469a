"""The graph and the inputs that the fields of POST /release_task make together, once its audio is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from acestep_flows.compat.fields import INSTRUMENTAL, Draft, settle_seeds, settle_words, shown
from acestep_flows.compat.parsing import is_absent
from acestep_flows.compat.refusal import Refusal

DEFAULT_SECONDS = 30.0
DEFAULT_STRENGTH = 0.5
LONGEST = 240.0
ASKED = ("bpm", "key_scale", "time_signature")
"""Properties that are put into the tags. Labels of the run keep them for its result."""


@dataclass(frozen=True)
class Source:
    """Audio that came with a request.

    Attributes:
        field: as the client named it.
        asset: its id.
        seconds: its length.
    """

    field: str
    asset: str
    seconds: float


def settle(draft: Draft, source: Source | None = None, reference: Source | None = None) -> Draft:
    """Choose the graph of a draft whose fields were read, and set what several fields say together.

    Args:
        source: audio to change or continue.
        reference: audio to stay near.

    Raises:
        Refusal: what was sent cannot be done together.
    """
    task = str(draft.values.get("task_type", "text2music"))
    _settle_text(draft, task)
    _settle_guidance(draft)
    if task == "text2music":
        _unused(draft, source, "text2music changes no audio; not used")
        _make(draft, reference)
        return draft
    if source is None:
        raise Refusal("src_audio", None, f"audio, for {task}", "missing", kind="missing")
    _unused(draft, reference, f"{task} has no reference; not used")
    _one_take(draft)
    {"cover": _cover, "repaint": _repaint, "complete": _complete}[task](draft, source)
    return draft


def _settle_text(draft: Draft, task: str) -> None:
    """Tags and lyrics, with what this model knows only as words."""
    query = draft.values.get("sample_query")
    if query is not None:
        used = is_absent(draft.inputs.get("tags"))
        if used:
            draft.put("tags", query, "sample_query")
            if is_absent(draft.inputs.get("lyrics")):
                draft.put("lyrics", INSTRUMENTAL)
        done = f"no language model is served here; {'used as the tags' if used else 'prompt is used'}"
        draft.warn("sample_query", query, done)
    if draft.values.get("instrumental"):
        if not is_absent(draft.inputs.get("lyrics")):
            draft.warn("lyrics", draft.inputs["lyrics"], "not sung; instrumental is true")
        draft.put("lyrics", INSTRUMENTAL, "instrumental")
    elif draft.inputs.get("lyrics") is None:
        draft.put("lyrics", "")
    if task == "repaint" and is_absent(draft.inputs.get("tags")):
        raise Refusal("prompt", draft.inputs.get("tags"), "tags of the new part", "missing", kind="missing")
    settle_words(draft, "prompt", "lyrics")
    for name in ASKED:
        if (value := draft.values.get(name)) is not None:
            words = f"{value:g} bpm" if name == "bpm" else str(value).strip()
            if words.lower() not in str(draft.inputs["tags"]).lower():
                draft.inputs["tags"] = f"{draft.inputs['tags']}, {words}"
            draft.labels[name] = words.removesuffix(" bpm")
            draft.warn(name, value, f"told to the model in the tags, as {words!r}")


def _settle_guidance(draft: Draft) -> None:
    """The guided part of the steps, which lies in their middle here."""
    start, end = (draft.values.get(f"cfg_interval_{side}") for side in ("start", "end"))
    if start is None and end is None:
        return
    name = "cfg_interval_end" if start is None else "cfg_interval_start"
    start, end = (0.0 if start is None else start), (1.0 if end is None else end)
    if start <= end and abs(start - (1 - end)) < 1e-6:
        draft.put("guidance_interval", round(end - start, 6), name)
    else:
        done = f"not used with {shown(end)} as its end; the guided part lies in the middle of the steps here"
        draft.warn(name, draft.values[name], done)


def _make(draft: Draft, reference: Source | None) -> None:
    """A new song, near a reference if there is one."""
    for name in ("repainting_start", "repainting_end", "repaint_strength", "repaint_mode"):
        _not_for(draft, name, "text2music repaints nothing")
    if reference is not None:
        _one_take(draft)
        _near(draft, reference)
        return
    _not_for(draft, "audio_cover_strength", "there is no audio to stay near")
    _default_length(draft)
    seeds = _seeds(draft)
    settle_seeds(draft, seeds, "seed" if "seed" in draft.values else "batch_size")


def _default_length(draft: Draft) -> None:
    if "duration" not in draft.inputs:
        draft.put("duration", DEFAULT_SECONDS)
        draft.warn("audio_duration", None, f"{DEFAULT_SECONDS:g} s are made")


def _seeds(draft: Draft) -> list[int | None]:
    """One seed for each song; None draws it. A batch of one seed counts up from it."""
    sent: list[int | None] = list(draft.values.get("seed", ()))
    count = draft.values.get("batch_size", max(1, len(sent)))
    if draft.values.get("use_random_seed") and any(seed is not None for seed in sent):
        draft.warn("seed", sent if len(sent) > 1 else sent[0], "drawn, because use_random_seed is true")
        sent = []
    if len(sent) > count:
        draft.warn("seed", sent, f"batch_size is {count}; the others are left out")
    if len(sent) == 1 and (first := sent[0]) is not None:
        return [first + number for number in range(count)]
    return (sent + [None] * count)[:count]


def _one_take(draft: Draft) -> None:
    """The seed of a graph that makes one song."""
    seeds = _seeds(draft)
    if len(seeds) > 1:
        name = "batch_size" if "batch_size" in draft.values else "seed"
        draft.warn(name, len(seeds) if name == "batch_size" else seeds, "one song is made of audio at a time")
    settle_seeds(draft, seeds[:1], "seed")


def _cover(draft: Draft, source: Source) -> None:
    for name in ("repainting_start", "repainting_end", "repaint_strength", "repaint_mode"):
        _not_for(draft, name, "cover repaints nothing")
    _near(draft, source)


def _near(draft: Draft, source: Source) -> None:
    """A song near audio, and as long."""
    draft.graph = "audio2audio"
    draft.put("reference", source.asset, source.field)
    _length_of(draft, source)
    strength = draft.values.get("audio_cover_strength")
    if strength is None:
        draft.put("strength", DEFAULT_STRENGTH)
        draft.warn("audio_cover_strength", None, f"{DEFAULT_STRENGTH:g} is used; 1 would be the audio itself here")
        return
    draft.put("strength", strength, "audio_cover_strength")
    if strength == 1:
        draft.warn("audio_cover_strength", strength, "used; it gives the audio itself here, and lower changes more")


def _length_of(draft: Draft, source: Source) -> None:
    if draft.inputs.pop("duration", None) is not None:
        draft.fields.pop("duration", None)
        done = f"the song is as long as its audio, {source.seconds:g} s"
        draft.warn("audio_duration", draft.values["audio_duration"], done)


def _repaint(draft: Draft, source: Source) -> None:
    """A part anew; one that reaches beyond the source makes it longer."""
    start = draft.values.get("repainting_start", 0.0)
    end = draft.values.get("repainting_end")
    end = None if end is None or end == -1 else end
    _length_of(draft, source)
    _not_for(draft, "audio_cover_strength", "repaint has repaint_strength")
    if start < 0 or (end is not None and end > source.seconds):
        _extend(draft, source, max(0.0, -start), max(0.0, (end or source.seconds) - source.seconds))
        return
    if start >= (source.seconds if end is None else end):
        allowed = f"less than the end, {source.seconds if end is None else end:g} s"
        raise Refusal("repainting_start", start, allowed)
    draft.graph = "repaint"
    draft.put("source", source.asset, source.field)
    draft.put("span", [start, end], "repainting_start" if "repainting_start" in draft.values else "repainting_end")
    strength, mode = draft.values.get("repaint_strength"), draft.values.get("repaint_mode")
    if mode is not None and mode != DEFAULT_STRENGTH and strength not in (None, mode):
        draft.warn("repaint_strength", strength, f"repaint_mode comes first, with {mode:g}")
        strength = None
    variance = strength if strength is not None else mode
    draft.put("variance", DEFAULT_STRENGTH if variance is None else variance, "repaint_strength")


def _complete(draft: Draft, source: Source) -> None:
    """The source continued, up to a length."""
    _not_for(draft, "audio_cover_strength", "complete keeps the audio as it is")
    _default_length(draft)
    seconds = draft.inputs.pop("duration")
    draft.fields.pop("duration", None)
    if seconds <= source.seconds:
        allowed = f"more than the audio's {source.seconds:g} s, up to {LONGEST:g}"
        raise Refusal("audio_duration", seconds, allowed)
    _extend(draft, source, 0.0, seconds - source.seconds)


def _extend(draft: Draft, source: Source, left: float, right: float) -> None:
    for name in ("repaint_strength", "repaint_mode"):
        _not_for(draft, name, "what is added is wholly new")
    draft.graph = "extend"
    draft.put("source", source.asset, source.field)
    draft.put("left", round(left, 3), "repainting_start")
    draft.put("right", round(right, 3), "repainting_end" if "repainting_end" in draft.values else "audio_duration")


def _not_for(draft: Draft, name: str, why: str) -> None:
    """Tell of a field that its task has no use for, unless it says what is so anyway."""
    usual: Mapping[str, Any] = {
        "repainting_start": 0,
        "repainting_end": -1,
        "repaint_strength": 0.5,
        "repaint_mode": 0.5,
        "audio_cover_strength": 1,
    }
    if (value := draft.values.get(name)) is not None and value != usual[name]:
        draft.warn(name, value, f"not used; {why}")


def _unused(draft: Draft, audio: Source | None, why: str) -> None:
    if audio is not None:
        draft.warn(audio.field, audio.asset, why)
