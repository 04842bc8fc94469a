"""The fields of v1's page, and what becomes of each. Functions and parameters as JSON share their names."""

from __future__ import annotations

from acestep_flows.compat.fields import FieldRow
from acestep_flows.compat.parsing import boolean, choice, number, seeds, text
from acestep_flows.compat.song_rows import PARSERS, put_adapter, put_format, put_oss_steps, song_rows

EDITS = {"only_lyrics": (0.6, 1.0), "remix": (0.2, 0.4)}
"""Where an edit begins and ends, by its type."""


ROWS = (
    FieldRow("audio_duration", number(highest=240)),
    *song_rows("prompt=tags lyrics infer_step=steps guidance_scale scheduler_type=solver cfg_type=guidance"),
    *song_rows("omega_scale=omega"),
    FieldRow("manual_seeds", seeds()),
    *song_rows("guidance_interval guidance_interval_decay=guidance_decay min_guidance_scale=guidance_minimum"),
    *song_rows("use_erg_tag=erg_tag use_erg_lyric=erg_lyric use_erg_diffusion=erg_diffusion"),
    FieldRow("oss_steps", PARSERS["oss_steps"], put_oss_steps),
    *song_rows("guidance_scale_text guidance_scale_lyric"),
    FieldRow("audio2audio_enable", boolean()),
    FieldRow("ref_audio_strength", number(0, 1)),
    FieldRow("lora_name_or_path", text(200), put_adapter),
    FieldRow("lora_weight", number(-10, 10)),
    FieldRow("format", choice(("wav", "mp3", "flac", "ogg")), put_format),
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
