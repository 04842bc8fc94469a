"""The graph and the inputs that a chat or a request for speech makes, once its audio is known."""

from __future__ import annotations

from collections.abc import Sequence

from acestep_flows.compat import song_tasks
from acestep_flows.compat.fields import INSTRUMENTAL, Draft, settle_words
from acestep_flows.compat.given_audio import GivenAudio
from acestep_flows.compat.openai.messages import words_of
from acestep_flows.compat.openai.tables import NO_LANGUAGE_MODEL
from acestep_flows.compat.parsing import is_absent
from acestep_flows.compat.refusal import Refusal

LENGTH = "audio_config.duration"

ASKED = {"bpm": "BPM", "key_scale": "Key", "time_signature": "Time signature"}
"""Properties that are put into the tags, and their names in an answer. Labels of the run keep them."""


def settle(draft: Draft, text: str, sources: Sequence[GivenAudio] = ()) -> Draft:
    """Choose the graph of a chat whose fields were read, and set what several of them say together.

    Args:
        text: of the message.
        sources: its audio: a reference of a new song, else the song to change.

    Raises:
        Refusal: what was sent cannot be done together.
    """
    _settle_text(draft, text)
    task = str(draft.values.get("task_type", "text2music"))
    for unused in sources[1:]:
        draft.warn(unused.field, unused.asset, f"not used; {task} takes one audio")
    if task == "text2music":
        _settle_new(draft, sources[0] if sources else None)
        return draft
    if not sources:
        raise Refusal("messages", task, f"a part of type input_audio, for task_type {task}", "no audio", kind="missing")
    song_tasks.settle_one_take(draft, "one song is made here at a time")
    {"cover": _cover, "repaint": _repaint, "complete": _complete}[task](draft, sources[0])
    return draft


def settle_speech(draft: Draft) -> Draft:
    """Set what the fields of a request for speech leave open.

    Raises:
        Refusal: there is nothing to sing, nor tags of a song without words.
    """
    if "lyrics" not in draft.inputs and is_absent(draft.inputs.get("tags")):
        raise Refusal("input", None, "lyrics to sing; instructions alone have no words sung", "missing", kind="missing")
    settle_words(draft, "instructions", "input")
    draft.inputs.setdefault("duration", song_tasks.SECONDS)
    song_tasks.settle_one_take(draft, "one song is made here at a time")
    return draft


def _settle_text(draft: Draft, text: str) -> None:
    lyrics = draft.inputs.get("lyrics")
    words = words_of(text, not is_absent(lyrics))
    if words.rest:
        draft.warn("messages", words.rest, "beside <prompt> and <lyrics>, not read")
    if words.tags is not None:
        draft.put("tags", words.tags, "messages")
        if not words.told:
            draft.warn("messages", words.tags, f"{NO_LANGUAGE_MODEL}; the text is used as the tags")
    if words.lyrics is not None:
        if not is_absent(lyrics):
            draft.warn("lyrics", lyrics, "not used; the message has lyrics")
        draft.put("lyrics", words.lyrics, "messages")
    if draft.values.get("audio_config.instrumental"):
        if not is_absent(draft.inputs.get("lyrics")):
            draft.warn("lyrics", draft.inputs["lyrics"], "not sung; instrumental is true")
        draft.put("lyrics", INSTRUMENTAL, "audio_config.instrumental")
    settle_words(draft, "messages", "lyrics")
    draft.inputs.setdefault("lyrics", "")
    song_tasks.put_into_tags(draft, ASKED, "audio_config.")


def _settle_new(draft: Draft, reference: GivenAudio | None) -> None:
    song_tasks.tell_unused(draft, "repainting_start", "text2music repaints nothing")
    song_tasks.tell_unused(draft, "repainting_end", "text2music repaints nothing")
    if reference is not None:
        song_tasks.settle_one_take(draft, "one song is made here at a time")
        song_tasks.stay_near(draft, reference, LENGTH)
        return
    song_tasks.tell_unused(draft, "audio_cover_strength", "there is no audio to stay near")
    draft.inputs.setdefault("duration", song_tasks.SECONDS)
    song_tasks.settle_batch(draft)


def _cover(draft: Draft, source: GivenAudio) -> None:
    song_tasks.stay_near(draft, source, LENGTH)


def _repaint(draft: Draft, source: GivenAudio) -> None:
    """A part anew; one that reaches beyond the source makes it longer."""
    start, end = draft.values.get("repainting_start", 0.0), draft.values.get("repainting_end", -1.0)
    end = source.seconds if end == -1 else end
    song_tasks.take_length_of(draft, source, LENGTH)
    song_tasks.tell_unused(draft, "audio_cover_strength", "repaint makes its part anew")
    if start < 0 or end > source.seconds:
        song_tasks.extend(draft, source, max(0.0, -start), max(0.0, end - source.seconds), "repainting_end")
        return
    if start >= end:
        raise Refusal("repainting_start", start, f"less than the end, {end:g} s")
    draft.graph = "repaint"
    draft.put("source", source.asset, source.field)
    draft.put("span", [start, end], "repainting_start" if "repainting_start" in draft.values else "repainting_end")


def _complete(draft: Draft, source: GivenAudio) -> None:
    """The source continued, up to a length."""
    song_tasks.tell_unused(draft, "audio_cover_strength", "complete keeps the audio as it is")
    draft.inputs.setdefault("duration", song_tasks.SECONDS)
    song_tasks.complete(draft, source, LENGTH, "repainting_end")
