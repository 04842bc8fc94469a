"""The graph and the inputs that the fields of POST /release_task make together, once its audio is known."""

from __future__ import annotations

from acestep_flows.compat import song_tasks
from acestep_flows.compat.fields import INSTRUMENTAL, Draft, settle_words, shown
from acestep_flows.compat.given_audio import GivenAudio
from acestep_flows.compat.parsing import is_absent
from acestep_flows.compat.refusal import Refusal

LENGTH = "audio_duration"
ASKED = ("bpm", "key_scale", "time_signature")
"""Properties that are put into the tags. Labels of the run keep them for its result."""


def settle(draft: Draft, source: GivenAudio | None = None, reference: GivenAudio | None = None) -> Draft:
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
    song_tasks.settle_one_take(draft, "one song is made of audio at a time")
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
    song_tasks.put_into_tags(draft, ASKED)


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


def _make(draft: Draft, reference: GivenAudio | None) -> None:
    """A new song, near a reference if there is one."""
    for name in ("repainting_start", "repainting_end", "repaint_strength", "repaint_mode"):
        song_tasks.tell_unused(draft, name, "text2music repaints nothing")
    if reference is not None:
        song_tasks.settle_one_take(draft, "one song is made of audio at a time")
        song_tasks.stay_near(draft, reference, LENGTH)
        return
    song_tasks.tell_unused(draft, "audio_cover_strength", "there is no audio to stay near")
    _default_length(draft)
    song_tasks.settle_batch(draft)


def _default_length(draft: Draft) -> None:
    if "duration" not in draft.inputs:
        draft.put("duration", song_tasks.SECONDS)
        draft.warn(LENGTH, None, f"{song_tasks.SECONDS:g} s are made")


def _cover(draft: Draft, source: GivenAudio) -> None:
    for name in ("repainting_start", "repainting_end", "repaint_strength", "repaint_mode"):
        song_tasks.tell_unused(draft, name, "cover repaints nothing")
    song_tasks.stay_near(draft, source, LENGTH)


def _repaint(draft: Draft, source: GivenAudio) -> None:
    """A part anew; one that reaches beyond the source makes it longer."""
    start = draft.values.get("repainting_start", 0.0)
    end = draft.values.get("repainting_end")
    end = None if end is None or end == -1 else end
    song_tasks.take_length_of(draft, source, LENGTH)
    song_tasks.tell_unused(draft, "audio_cover_strength", "repaint has repaint_strength")
    if start < 0 or (end is not None and end > source.seconds):
        after = max(0.0, (end or source.seconds) - source.seconds)
        _tell_variance_unused(draft)
        song_tasks.extend(draft, source, max(0.0, -start), after, _right(draft))
        return
    if start >= (source.seconds if end is None else end):
        allowed = f"less than the end, {source.seconds if end is None else end:g} s"
        raise Refusal("repainting_start", start, allowed)
    draft.graph = "repaint"
    draft.put("source", source.asset, source.field)
    draft.put("span", [start, end], "repainting_start" if "repainting_start" in draft.values else "repainting_end")
    strength, mode = draft.values.get("repaint_strength"), draft.values.get("repaint_mode")
    if mode is not None and mode != song_tasks.STRENGTH and strength not in (None, mode):
        draft.warn("repaint_strength", strength, f"repaint_mode comes first, with {mode:g}")
        strength = None
    variance = strength if strength is not None else mode
    draft.put("variance", song_tasks.STRENGTH if variance is None else variance, "repaint_strength")


def _complete(draft: Draft, source: GivenAudio) -> None:
    """The source continued, up to a length."""
    song_tasks.tell_unused(draft, "audio_cover_strength", "complete keeps the audio as it is")
    _default_length(draft)
    _tell_variance_unused(draft)
    song_tasks.complete(draft, source, LENGTH, _right(draft))


def _tell_variance_unused(draft: Draft) -> None:
    for name in ("repaint_strength", "repaint_mode"):
        song_tasks.tell_unused(draft, name, "what is added is wholly new")


def _right(draft: Draft) -> str:
    """The field that says how much is added at the end."""
    return "repainting_end" if "repainting_end" in draft.values else LENGTH


def _unused(draft: Draft, audio: GivenAudio | None, why: str) -> None:
    if audio is not None:
        draft.warn(audio.field, audio.asset, why)
