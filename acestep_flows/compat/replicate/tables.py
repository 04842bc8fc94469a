"""The inputs of the models that Replicate has, and what becomes of them.

Inputs of a graph keep their one name, so that a prediction can show those of its run again.
"""

from __future__ import annotations

from acestep_flows.compat.fields import INSTRUMENTAL, Draft, FieldRow, ignored, settle_seeds, settle_words
from acestep_flows.compat.parsing import boolean, choice, integer, number, text
from acestep_flows.compat.song_rows import drop, seconds, settle_song, song_rows
from acestep_flows.text.languages import SUPPORTED

LUCATACO = (
    FieldRow("tags", text(), "tags", required=True),
    FieldRow("duration", seconds(1), "duration"),
    *song_rows("lyrics seed number_of_steps=steps scheduler=solver guidance_type=guidance granularity_scale=omega"),
    *song_rows("guidance_interval guidance_interval_decay=guidance_decay guidance_scale"),
    *song_rows("min_guidance_scale=guidance_minimum tag_guidance_scale=guidance_scale_text"),
    *song_rows("lyric_guidance_scale=guidance_scale_lyric audio=reference ref_audio_strength=strength"),
)

NATIVE = (
    FieldRow("seed", integer(), "seed", aliases=("manual_seeds", "actual_seeds")),
    FieldRow("audio_duration", seconds(0.1), "duration"),
    *song_rows("prompt=tags lyrics infer_step=steps scheduler_type=solver cfg_type=guidance omega_scale=omega"),
    *song_rows("guidance_scale guidance_interval guidance_interval_decay=guidance_decay"),
    *song_rows("min_guidance_scale=guidance_minimum guidance_scale_text guidance_scale_lyric oss_steps"),
    *song_rows("use_erg_tag=erg_tag use_erg_lyric=erg_lyric use_erg_diffusion=erg_diffusion"),
    *song_rows("lora_name_or_path=adapter lora_weight=adapter_weight"),
    *song_rows("ref_audio_input=reference ref_audio_strength=strength"),
)

FISHAUDIO = (
    *song_rows("prompt=tags lyrics seed inference_steps=steps guidance_scale"),
    FieldRow("duration", seconds(0.1), "duration", aliases=("audio_duration",)),
    FieldRow("vocal_language", text(20), "language"),
    FieldRow("infer_method", choice({"ode": "euler", "sde": "pingpong"}), "solver"),
    FieldRow("instrumental", boolean()),
    FieldRow("bpm", number(1, 1000)),
    FieldRow("key_scale", text(100)),
    FieldRow("time_signature", text(20)),
    FieldRow("batch_size", integer(1, 8)),
    FieldRow("audio_format", choice(("mp3", "wav", "flac", "ogg"))),
    ignored("shift", "the model has a shift of its own", 3.0, parse=number()),
    ignored("thinking", "no language model is served here", False, parse=boolean()),
)


def settle_lucataco(draft: Draft) -> None:
    """A song as lucataco/ace-step makes it: of 60 s where no length is given."""
    settle_words(draft, "tags", "lyrics")
    if (steps := draft.inputs.get("steps", 10)) < 10:
        draft.warn("number_of_steps", steps, "used; lucataco/ace-step itself takes 10 to 200")
    settle_song(draft, 60.0)


def settle_native(draft: Draft) -> None:
    """A song as andreasjansson/ace-step makes it: of 30 s where no length is given."""
    for input, nothing in (("adapter", "none"), ("adapter", "None"), ("oss_steps", [])):
        if draft.inputs.get(input) == nothing:
            del draft.inputs[input], draft.fields[input]
    settle_words(draft, "prompt", "lyrics")
    settle_song(draft, 30.0)


def settle_fishaudio(draft: Draft) -> None:
    """Songs as fishaudio/ace-step-1.5 makes them. What its model knows as numbers is told to this one in the tags."""
    values = draft.values
    draft.format = values.get("audio_format", "mp3")
    if values.get("instrumental"):
        drop(draft, "lyrics", "not sung; instrumental is true")
        draft.put("lyrics", INSTRUMENTAL, "instrumental")
    settle_words(draft, "prompt", "lyrics")
    for name in ("bpm", "key_scale", "time_signature"):
        if name in values:
            words = f"{values[name]:g} bpm" if name == "bpm" else str(values[name]).strip()
            draft.inputs["tags"] += f", {words}"
            draft.warn(name, values[name], f"told to the model in the tags, as {words!r}")
    if draft.inputs.get("language", SUPPORTED[0]) not in SUPPORTED:
        drop(draft, "language", "the language of the lyrics is detected")
    settle_song(draft, 30.0)
    if (count := values.get("batch_size", 1)) > 1:
        first = draft.inputs.pop("seed", None)
        settle_seeds(draft, [None if first is None else first + at for at in range(count)], "seed")
