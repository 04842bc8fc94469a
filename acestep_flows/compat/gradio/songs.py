"""The graph and the inputs that a call of the page makes, once its audio is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from acestep_flows.compat.fields import Draft, settle_seeds, settle_words, translate
from acestep_flows.compat.given_audio import GivenAudio
from acestep_flows.compat.gradio import functions
from acestep_flows.compat.gradio.tables import EDITS, ROWS
from acestep_flows.compat.parsing import is_absent, json_object
from acestep_flows.compat.refusal import Refusal
from acestep_flows.compat.song_rows import draw_seconds

_OF_SONG = (*functions.CALL.parameters, "actual_seeds")
_NOT_OF_SONG = ("audio2audio_enable", "ref_audio_strength", "ref_audio_input")


def parameters_of(json_data: Any) -> dict[str, Any]:
    """The parameters of a song as v1 writes them, as they came back.

    Raises:
        Refusal: they are no object.
    """
    if is_absent(json_data):
        return {}
    try:
        return json_object(json_data)
    except ValueError as error:
        raise Refusal("json_data", json_data, str(error)) from None


def song_of(
    function: functions.Function, sent: Mapping[str, Any], draft: Draft, source: GivenAudio | None = None
) -> Draft:
    """Read a call into a draft.

    Args:
        sent: its arguments by name, without audio. What it does not send, `json_data` has.
        source: the reference of a new song, or the song to change.

    Raises:
        InputError: what was sent cannot be done.
    """
    given = parameters_of(sent.get("json_data"))
    of_song = {name: given[name] for name in _OF_SONG if name in given and name not in _NOT_OF_SONG}
    if not is_absent(seeds := of_song.pop("actual_seeds", None)):
        of_song["manual_seeds"] = seeds
    own = {name: value for name, value in sent.items() if name not in ("json_data", "source_audio", "ref_audio_input")}
    draft.format = "wav"
    translate(ROWS, {**of_song, **own}, draft)
    settle_words(draft, "prompt", "lyrics")
    draft.inputs.setdefault("lyrics", "")
    if (weight := draft.values.get("lora_weight", 1.0)) != 1:
        if "adapter" in draft.inputs:
            draft.put("adapter_weight", weight, "lora_weight")
        else:
            draft.warn("lora_weight", weight, "not used without lora_name_or_path")
    _MAKE[function.name](draft, source, given)
    return draft


def _call(draft: Draft, reference: GivenAudio | None, given: Mapping[str, Any]) -> None:
    found: list[int | None] = draft.values.get("manual_seeds", [])
    enabled, seconds = draft.values.get("audio2audio_enable"), draft.values.get("audio_duration", -1.0)
    if enabled and reference is not None:
        draft.graph = "audio2audio"
        draft.put("reference", reference.asset, reference.field)
        draft.put("strength", draft.values.get("ref_audio_strength", 0.5), "ref_audio_strength")
        if seconds > 0:
            draft.warn("audio_duration", seconds, f"the song is as long as its reference, {reference.seconds:g} s")
        _one_seed(draft, "manual_seeds")
        return
    if enabled:
        draft.warn("audio2audio_enable", True, "not used without ref_audio_input")
    elif reference is not None:
        draft.warn(reference.field, reference.asset, "not used without audio2audio_enable")
    elif "ref_audio_strength" in draft.values:
        draft.warn("ref_audio_strength", draft.values["ref_audio_strength"], "not used without ref_audio_input")
    if seconds <= 0:
        drawn = draw_seconds()
        draft.warn("audio_duration", seconds, f"{drawn:g} s were drawn")
        seconds = drawn
    draft.put("duration", seconds, "audio_duration")
    settle_seeds(draft, found, "manual_seeds")


def _retake(draft: Draft, source: GivenAudio | None, given: Mapping[str, Any]) -> None:
    draft.graph = "retake"
    if is_absent(given.get("prompt")):
        raise Refusal("json_data", draft.values.get("json_data"), "the parameters of a song of the first tab")
    seconds = draft.values.get("audio_duration", -1.0)
    if seconds <= 0:
        raise Refusal("json_data", seconds, "parameters with the length of the song", f"audio_duration is {seconds:g}")
    draft.put("duration", seconds, "json_data")
    draft.put("variance", draft.values.get("retake_variance", 0.2), "retake_variance")
    if given.get("task", "text2music") not in ("text2music", "retake"):
        draft.warn("json_data", given["task"], "the song was made from another; a new one of its words is varied")
    _one_seed(draft, "manual_seeds")
    _one_seed(draft, "retake_seeds", "retake_seed")


def _repaint(draft: Draft, source: GivenAudio | None, given: Mapping[str, Any]) -> None:
    draft.graph = "repaint"
    song = _change(draft, source, sound=True)
    start, end = draft.values.get("repaint_start", 0.0), draft.values.get("repaint_end", 30.0)
    if end > song.seconds and "repaint_end" in draft.values:
        draft.warn("repaint_end", end, f"cut to the end of the song, {song.seconds:g} s")
    if start >= min(end, song.seconds):
        raise Refusal("repaint_start", start, f"less than the end, {min(end, song.seconds):g} s")
    span = [start, end if end < song.seconds else None]
    draft.put("span", span, "repaint_start" if "repaint_start" in draft.values else "repaint_end")
    draft.put("variance", draft.values.get("retake_variance", 0.2), "retake_variance")
    _one_seed(draft, "manual_seeds")
    _one_seed(draft, "retake_seeds", "retake_seed")


def _edit(draft: Draft, source: GivenAudio | None, given: Mapping[str, Any]) -> None:
    draft.graph = "edit"
    _change(draft, source, sound=False)
    least, most = EDITS[draft.values.get("edit_type", "only_lyrics")]
    draft.put("minimum", draft.values.get("edit_n_min", least), "edit_n_min")
    draft.put("maximum", draft.values.get("edit_n_max", most), "edit_n_max")
    draft.put("new_tags", draft.values.get("edit_prompt", draft.inputs["tags"]), "edit_prompt")
    draft.put("new_lyrics", draft.values.get("edit_lyrics", draft.inputs["lyrics"]), "edit_lyrics")
    _one_seed(draft, "edit_seeds")


def _extend(draft: Draft, source: GivenAudio | None, given: Mapping[str, Any]) -> None:
    draft.graph = "extend"
    _change(draft, source, sound=True)
    draft.put("left", draft.values.get("left_extend_length", 0.0), "left_extend_length")
    draft.put("right", draft.values.get("right_extend_length", 30.0), "right_extend_length")
    _one_seed(draft, "manual_seeds")
    _one_seed(draft, "extend_seeds", "retake_seed")


def _change(draft: Draft, source: GivenAudio | None, sound: bool) -> GivenAudio:
    if source is None:
        allowed = "a file, or json_data of a song that was made here"
        raise Refusal("source_audio", None, allowed, "no song to change", kind="missing")
    draft.put("source", source.asset, source.field)
    if source.sound and sound:
        draft.put("sound", source.sound, source.field)
    return source


def _one_seed(draft: Draft, field: str, input: str = "seed") -> None:
    """The seed of a graph that makes one song. Without one it is drawn."""
    found: list[int | None] = draft.values.get(field, [])
    if len(found) > 1:
        draft.warn(field, found, "one song is made here at a time, with the first")
    if found and found[0] is not None:
        draft.put(input, found[0], field)


_MAKE: Mapping[str, Callable[[Draft, GivenAudio | None, Mapping[str, Any]], None]] = {
    functions.CALL.name: _call,
    functions.RETAKE.name: _retake,
    functions.REPAINT.name: _repaint,
    functions.EDIT.name: _edit,
    functions.EXTEND.name: _extend,
}
