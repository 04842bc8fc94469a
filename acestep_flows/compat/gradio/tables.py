"""The fields of v1's page, and what becomes of each. Functions and parameters as JSON share their names."""

from __future__ import annotations

from acestep_flows.compat.fields import Draft, FieldRow
from acestep_flows.compat.parsing import boolean, choice, integer, integers, number, seeds, text

EDITS = {"only_lyrics": (0.6, 1.0), "remix": (0.2, 0.4)}
"""Where an edit begins and ends, by its type."""


def _format(draft: Draft, name: str) -> None:
    draft.format = name


def _oss_steps(draft: Draft, steps: list[int]) -> None:
    if steps:
        draft.put("oss_steps", steps, "oss_steps")


def _adapter(draft: Draft, name: str) -> None:
    if name.strip().lower() != "none":
        draft.put("adapter", name, "lora_name_or_path")


ROWS = (
    FieldRow("audio_duration", number(highest=240)),
    FieldRow("prompt", text(), "tags"),
    FieldRow("lyrics", text(), "lyrics"),
    FieldRow("infer_step", integer(1, 200), "steps"),
    FieldRow("guidance_scale", number(0, 30), "guidance_scale"),
    FieldRow("scheduler_type", choice(("euler", "heun", "pingpong")), "solver"),
    FieldRow("cfg_type", choice(("apg", "cfg", "cfg_star")), "guidance"),
    FieldRow("omega_scale", number(-100, 100), "omega"),
    FieldRow("manual_seeds", seeds()),
    FieldRow("guidance_interval", number(0, 1), "guidance_interval"),
    FieldRow("guidance_interval_decay", number(0, 1), "guidance_decay"),
    FieldRow("min_guidance_scale", number(0, 200), "guidance_minimum"),
    FieldRow("use_erg_tag", boolean(), "erg_tag"),
    FieldRow("use_erg_lyric", boolean(), "erg_lyric"),
    FieldRow("use_erg_diffusion", boolean(), "erg_diffusion"),
    FieldRow("oss_steps", integers(1, 1000, 1000), _oss_steps),
    FieldRow("guidance_scale_text", number(0, 10), "guidance_scale_text"),
    FieldRow("guidance_scale_lyric", number(0, 10), "guidance_scale_lyric"),
    FieldRow("audio2audio_enable", boolean()),
    FieldRow("ref_audio_strength", number(0, 1)),
    FieldRow("lora_name_or_path", text(200), _adapter),
    FieldRow("lora_weight", number(-10, 10)),
    FieldRow("format", choice(("wav", "mp3", "flac", "ogg")), _format),
    FieldRow("retake_variance", number(0, 1)),
    FieldRow("retake_seeds", seeds()),
    FieldRow("repaint_start", number(0, 240)),
    FieldRow("repaint_end", number(0, 240)),
    FieldRow("edit_type", choice(tuple(EDITS))),
    FieldRow("edit_prompt", text()),
    FieldRow("edit_lyrics", text()),
    FieldRow("edit_n_min", number(0, 1)),
    FieldRow("edit_n_max", number(0, 1)),
    FieldRow("edit_seeds", seeds()),
    FieldRow("extend_seeds", seeds()),
    FieldRow("left_extend_length", number(0, 239)),
    FieldRow("right_extend_length", number(0, 239)),
)
"""Rows without an effect of their own are joined by `songs`."""
