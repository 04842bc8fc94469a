"""The fields of the two REST servers of version 1, and what becomes of them.

`INFER` is the body of `infer-api`, `TRAINER` that of `trainer-api`, which has `infer_steps` and no `lyrics`. Both
come to POST /generate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from acestep_flows.compat.fields import Draft, FieldRow, ignored, settle_seeds, settle_words, translate
from acestep_flows.compat.parsing import boolean, integer, number, seeds, text
from acestep_flows.compat.song_rows import FORMATS, PARSERS, draw_seconds, put_oss_steps, song_rows

WEIGHTS = "the weights of this server are used"
LONGEST_PATH = 2000


def _duration(draft: Draft, seconds: float) -> None:
    if seconds > 0:
        draft.put("duration", seconds, "audio_duration")
        return
    drawn = draw_seconds()
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


def _checkpoint(draft: Draft, path: str) -> None:
    if PurePosixPath(path).name != draft.model.name:
        draft.warn("checkpoint_path", path, WEIGHTS)


def _required(names: str) -> tuple[FieldRow, ...]:
    return tuple(dataclasses.replace(row, required=True) for row in song_rows(names))


TAGS = FieldRow("prompt", text(), "tags", required=True)

INFER = (
    FieldRow("checkpoint_path", text(LONGEST_PATH), _checkpoint, required=True),
    FieldRow("audio_duration", number(highest=240), _duration, required=True),
    TAGS,
    FieldRow("lyrics", text(), "lyrics", required=True),
    *_required("infer_step=steps guidance_scale scheduler_type=solver cfg_type=guidance omega_scale=omega"),
    FieldRow("actual_seeds", seeds(), _seeds, required=True),
    *_required("guidance_interval guidance_interval_decay=guidance_decay min_guidance_scale=guidance_minimum"),
    *_required("use_erg_tag=erg_tag use_erg_lyric=erg_lyric use_erg_diffusion=erg_diffusion"),
    FieldRow("oss_steps", PARSERS["oss_steps"], put_oss_steps, required=True),
    *song_rows("guidance_scale_text guidance_scale_lyric"),
    FieldRow("output_path", text(LONGEST_PATH), _output_path),
    ignored("bf16", "the operator sets the precision (--dtype of the server's pool)", True, parse=boolean()),
    ignored("torch_compile", "not compiled", False, parse=boolean()),
    ignored("device_id", "the operator chooses the device", 0, parse=integer()),
)

TRAINER = (
    TAGS,
    FieldRow("duration", number(0.1, 240), "duration"),
    *song_rows("infer_steps=steps guidance_scale omega_scale=omega"),
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
