"""The graph and the inputs that a chat or a request for speech makes, once its audio is known."""

from __future__ import annotations

from collections.abc import Sequence

from acestep_flows.compat.fields import INSTRUMENTAL, Draft, settle_seeds, settle_words, shown
from acestep_flows.compat.given_audio import GivenAudio
from acestep_flows.compat.openai.messages import words_of
from acestep_flows.compat.openai.tables import NO_LANGUAGE_MODEL, SECONDS
from acestep_flows.compat.parsing import is_absent
from acestep_flows.compat.refusal import Refusal

STRENGTH = 0.5
"""Of a cover for which none is given."""

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
    _one_take(draft)
    {"cover": _cover, "repaint": _repaint, "complete": _complete}[task](draft, sources[0])
    return draft


def settle_speech(draft: Draft) -> Draft:
    """Set what the fields of a request for speech leave open."""
    settle_words(draft, "instructions", "input")
    draft.inputs.setdefault("duration", SECONDS)
    _one_take(draft)
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
    for name in ASKED:
        if (value := draft.values.get(f"audio_config.{name}")) is None:
            continue
        said = f"{value:g} bpm" if name == "bpm" else str(value).strip()
        if said.lower() not in str(draft.inputs["tags"]).lower():
            draft.inputs["tags"] = f"{draft.inputs['tags']}, {said}"
        draft.labels[name] = said.removesuffix(" bpm")
        draft.warn(f"audio_config.{name}", value, f"told to the model in the tags, as {said!r}")


def _settle_new(draft: Draft, reference: GivenAudio | None) -> None:
    _not_for(draft, "repainting_start", "text2music repaints nothing")
    _not_for(draft, "repainting_end", "text2music repaints nothing")
    if reference is not None:
        _one_take(draft)
        _cover(draft, reference)
        return
    _not_for(draft, "audio_cover_strength", "there is no audio to stay near")
    draft.inputs.setdefault("duration", SECONDS)
    settle_seeds(draft, _seeds(draft), "seed" if "seed" in draft.values else "batch_size")


def _seeds(draft: Draft) -> list[int | None]:
    """One seed for each song; None draws it. A batch of one seed counts up from it."""
    sent: list[int | None] = list(draft.values.get("seed", ()))
    count = draft.values.get("batch_size", max(1, len(sent)))
    if len(sent) > count:
        draft.warn("seed", sent, f"batch_size is {count}; the others are left out")
    if len(sent) == 1 and (first := sent[0]) is not None:
        return [first + number for number in range(count)]
    return (sent + [None] * count)[:count]


def _one_take(draft: Draft) -> None:
    seeds = _seeds(draft)
    if len(seeds) > 1:
        name = "batch_size" if "batch_size" in draft.values else "seed"
        draft.warn(name, draft.values[name], "one song is made here at a time")
    settle_seeds(draft, seeds[:1], "seed")


def _cover(draft: Draft, source: GivenAudio) -> None:
    """A song near audio, and as long."""
    draft.graph = "audio2audio"
    draft.put("reference", source.asset, source.field)
    _length_of(draft, source)
    strength = draft.values.get("audio_cover_strength")
    if strength is None:
        draft.put("strength", STRENGTH)
        draft.warn("audio_cover_strength", None, f"{STRENGTH:g} is used; 1 would be the audio itself here")
        return
    draft.put("strength", strength, "audio_cover_strength")
    if strength == 1:
        draft.warn("audio_cover_strength", strength, "used; it gives the audio itself here, and lower changes more")


def _repaint(draft: Draft, source: GivenAudio) -> None:
    """A part anew; one that reaches beyond the source makes it longer."""
    start, end = draft.values.get("repainting_start", 0.0), draft.values.get("repainting_end", -1.0)
    end = source.seconds if end == -1 else end
    _length_of(draft, source)
    _not_for(draft, "audio_cover_strength", "repaint makes its part anew")
    if start < 0 or end > source.seconds:
        _extend(draft, source, max(0.0, -start), max(0.0, end - source.seconds))
        return
    if start >= end:
        raise Refusal("repainting_start", start, f"less than the end, {end:g} s")
    draft.graph = "repaint"
    draft.put("source", source.asset, source.field)
    draft.put("span", [start, end], "repainting_start" if "repainting_start" in draft.values else "repainting_end")


def _complete(draft: Draft, source: GivenAudio) -> None:
    """The source continued, up to a length."""
    _not_for(draft, "audio_cover_strength", "complete keeps the audio as it is")
    seconds = draft.inputs.pop("duration", SECONDS)
    draft.fields.pop("duration", None)
    if seconds <= source.seconds:
        raise Refusal("audio_config.duration", seconds, f"more than the audio's {source.seconds:g} s, up to 240")
    _extend(draft, source, 0.0, seconds - source.seconds)


def _extend(draft: Draft, source: GivenAudio, left: float, right: float) -> None:
    draft.graph = "extend"
    draft.put("source", source.asset, source.field)
    draft.put("left", round(left, 3), "repainting_start")
    draft.put("right", round(right, 3), "repainting_end")


def _length_of(draft: Draft, source: GivenAudio) -> None:
    if draft.inputs.pop("duration", None) is not None:
        draft.fields.pop("duration", None)
        told = f"the song is as long as its audio, {shown(source.seconds)} s"
        draft.warn("audio_config.duration", draft.values["audio_config.duration"], told)


def _not_for(draft: Draft, name: str, why: str) -> None:
    """Tell of a field that its task has no use for, unless it says what is so anyway."""
    usual = {"repainting_start": 0, "repainting_end": -1, "audio_cover_strength": 1}
    if (value := draft.values.get(name)) is not None and value != usual[name]:
        draft.warn(name, value, f"not used; {why}")
