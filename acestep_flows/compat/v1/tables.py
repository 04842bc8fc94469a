"""The fields of the two REST servers of version 1, and what becomes of them.

`INFER` is the body of `infer-api`, `TRAINER` that of `trainer-api`, which has `infer_steps` and no `lyrics`. Both
come to POST /generate.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from acestep_flows.compat.fields import Draft, FieldRow, ignored, settle_seeds, settle_words, translate
from acestep_flows.compat.parsing import boolean, choice, integer, integers, number, seeds, text

FORMATS = ("wav", "flac", "mp3", "ogg")
DRAWN_SECONDS = (30.0, 240.0)
"""A length of 0 or less is drawn between these."""

WEIGHTS = "the weights of this server are used"
LONGEST_PATH = 2000


def _duration(draft: Draft, seconds: float) -> None:
    if seconds > 0:
        draft.put("duration", seconds, "audio_duration")
        return
    drawn = round(random.uniform(*DRAWN_SECONDS), 1)
    draft.put("duration", drawn, "audio_duration")
    draft.warn("audio_duration", seconds, f"{drawn:g} s were drawn")


def _seeds(draft: Draft, found: list[int | None]) -> None:
    settle_seeds(draft, found, "actual_seeds")


def _seed(draft: Draft, seed: int) -> None:
    settle_seeds(draft, [seed if seed >= 0 else None], "seed")


def _output_path(draft: Draft, path: str) -> None:
    """The last part of a path names the file for whoever fetches it; its ending is a format."""
    name = PurePosixPath(path.replace("\\", "/")).name
    suffix = PurePosixPath(name).suffix.removeprefix(".").lower()
    if suffix in FORMATS:
        draft.format = suffix
    elif suffix:
        draft.warn("output_path", path, f"{draft.format} is made; it may be {', '.join(FORMATS)}")
    draft.warn("output_path", path, "nothing is written there; the answer has the address of the file")


def _oss_steps(draft: Draft, steps: list[int]) -> None:
    if steps:
        draft.put("oss_steps", steps, "oss_steps")


def _checkpoint(draft: Draft, path: str) -> None:
    if PurePosixPath(path).name != draft.model.name:
        draft.warn("checkpoint_path", path, WEIGHTS)


TAGS = FieldRow("prompt", text(), "tags", required=True)

INFER = (
    FieldRow("checkpoint_path", text(LONGEST_PATH), _checkpoint, required=True),
    FieldRow("audio_duration", number(highest=240), _duration, required=True),
    TAGS,
    FieldRow("lyrics", text(), "lyrics", required=True),
    FieldRow("infer_step", integer(1, 200), "steps", required=True),
    FieldRow("guidance_scale", number(0, 30), "guidance_scale", required=True),
    FieldRow("scheduler_type", choice(("euler", "heun", "pingpong")), "solver", required=True),
    FieldRow("cfg_type", choice(("apg", "cfg", "cfg_star")), "guidance", required=True),
    FieldRow("omega_scale", number(-100, 100), "omega", required=True),
    FieldRow("actual_seeds", seeds(), _seeds, required=True),
    FieldRow("guidance_interval", number(0, 1), "guidance_interval", required=True),
    FieldRow("guidance_interval_decay", number(0, 1), "guidance_decay", required=True),
    FieldRow("min_guidance_scale", number(0, 200), "guidance_minimum", required=True),
    FieldRow("use_erg_tag", boolean(), "erg_tag", required=True),
    FieldRow("use_erg_lyric", boolean(), "erg_lyric", required=True),
    FieldRow("use_erg_diffusion", boolean(), "erg_diffusion", required=True),
    FieldRow("oss_steps", integers(1, 1000, 1000), _oss_steps, required=True),
    FieldRow("guidance_scale_text", number(0, 10), "guidance_scale_text"),
    FieldRow("guidance_scale_lyric", number(0, 10), "guidance_scale_lyric"),
    FieldRow("output_path", text(LONGEST_PATH), _output_path),
    ignored("bf16", "the operator sets the precision (--dtype of the server's pool)", True, parse=boolean()),
    ignored("torch_compile", "not compiled", False, parse=boolean()),
    ignored("device_id", "the operator chooses the device", 0, parse=integer()),
)

TRAINER = (
    TAGS,
    FieldRow("duration", number(0.1, 240), "duration"),
    FieldRow("infer_steps", integer(1, 200), "steps"),
    FieldRow("guidance_scale", number(0, 30), "guidance_scale"),
    FieldRow("omega_scale", number(-100, 100), "omega"),
    FieldRow("seed", integer(), _seed),
)


def is_trainer(fields: Mapping[str, Any]) -> bool:
    """Whether a body is of `trainer-api`."""
    return "infer_steps" in fields and "lyrics" not in fields


def infer_song(fields: Mapping[str, Any], draft: Draft) -> Draft:
    """The song that a body of `infer-api` asks for, as wav unless `output_path` ends in another format.

    Raises:
        InputError: fields are missing or not usable.
    """
    draft.format = "wav"
    translate(INFER, fields, draft)
    settle_words(draft, "prompt", "lyrics")
    return draft


def trainer_song(fields: Mapping[str, Any], draft: Draft) -> Draft:
    """The song that a body of `trainer-api` asks for: 240 s in 60 steps, unless it says otherwise.

    Raises:
        InputError: fields are missing or not usable.
    """
    draft.format = "wav"
    draft.inputs.update({"duration": 240.0})
    translate(TRAINER, fields, draft)
    settle_words(draft, "prompt", "lyrics")
    return draft


def file_stem(draft: Draft) -> str:
    """The name without its ending that `output_path` has for the file; empty without one."""
    return PurePosixPath(str(draft.values.get("output_path", "")).replace("\\", "/")).stem
