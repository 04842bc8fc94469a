"""Rows that interfaces for version 1 have alike but for their names: words, seed, and settings of the sampler."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from acestep_flows.compat.fields import Draft, FieldRow
from acestep_flows.compat.parsing import Parse, anything, boolean, choice, integer, integers, number, text

DRAWN = -1.0
"""A length that is drawn from `DRAWN_SECONDS`."""

DRAWN_SECONDS = (30.0, 240.0)

FORMATS = ("wav", "flac", "mp3", "ogg")

SAMPLER_DEFAULTS: Mapping[str, Any] = {
    "infer_step": 60,
    "guidance_scale": 15.0,
    "scheduler_type": "euler",
    "cfg_type": "apg",
    "omega_scale": 10.0,
    "manual_seeds": None,
    "guidance_interval": 0.5,
    "guidance_interval_decay": 0.0,
    "min_guidance_scale": 3.0,
    "use_erg_tag": True,
    "use_erg_lyric": True,
    "use_erg_diffusion": True,
    "oss_steps": None,
    "guidance_scale_text": 0.0,
    "guidance_scale_lyric": 0.0,
}
"""Version 1's settings of the sampler in the order of its Python call, which is that of its page too."""

PARSERS: Mapping[str, Parse] = {
    "tags": text(),
    "lyrics": text(),
    "seed": integer(),
    "steps": integer(1, 200),
    "solver": choice(("euler", "heun", "pingpong")),
    "guidance": choice(("apg", "cfg", "cfg_star")),
    "omega": number(-100, 100),
    "guidance_interval": number(0, 1),
    "guidance_decay": number(0, 1),
    "guidance_scale": number(0, 30),
    "guidance_minimum": number(0, 200),
    "guidance_scale_text": number(0, 10),
    "guidance_scale_lyric": number(0, 10),
    "erg_tag": boolean(),
    "erg_lyric": boolean(),
    "erg_diffusion": boolean(),
    "oss_steps": integers(1, 1000, 1000),
    "adapter": text(200),
    "adapter_weight": number(-10, 10),
    "reference": anything(),
    "strength": number(0, 1),
}
"""What the inputs of our graphs take."""


def song_rows(names: str) -> tuple[FieldRow, ...]:
    """A row for each name of an interface.

    Args:
        names: words `NAME=INPUT`, or `NAME` where the input has the same name.
    """
    pairs = [word.partition("=") for word in names.split()]
    return tuple(FieldRow(name, PARSERS[input or name], input or name) for name, _, input in pairs)


def draw_seconds() -> float:
    """A length for a song that has none."""
    return round(random.uniform(*DRAWN_SECONDS), 1)


def put_format(draft: Draft, name: str) -> None:
    """Make files of this format."""
    draft.format = name


def put_oss_steps(draft: Draft, steps: list[int]) -> None:
    """Take steps by number, unless the list is empty."""
    if steps:
        draft.put("oss_steps", steps, "oss_steps")


def put_adapter(draft: Draft, name: str) -> None:
    """Use an adapter, unless it is called "none"."""
    if name.strip().lower() != "none":
        draft.put("adapter", name, "lora_name_or_path")


def seconds(lowest: float) -> Callable[[Any], float]:
    """A length up to 240 s; -1 draws one (`settle_song`)."""
    between, any_number = number(lowest, 240), number()
    return lambda value: DRAWN if any_number(value) == DRAWN else between(value)


def settle_seed(draft: Draft) -> None:
    """Draw the seed if it is below 0."""
    if draft.inputs.get("seed", 0) < 0:
        del draft.inputs["seed"], draft.fields["seed"]


def settle_song(draft: Draft, usual: float) -> None:
    """See to seed and length of a song; of one near audio (`reference`), the length is that of the audio.

    Args:
        usual: seconds of a song without a length.
    """
    settle_seed(draft)
    if "reference" in draft.inputs:
        draft.graph = "audio2audio"
        drop(draft, "duration", "not used; the song is as long as its audio")
        return
    drop(draft, "strength", "not used; there is no audio to stay near")
    if draft.inputs.setdefault("duration", usual) == DRAWN:
        drawn, name = draw_seconds(), draft.fields["duration"]
        draft.put("duration", drawn, name)
        draft.warn(name, DRAWN, f"{drawn:g} s were drawn")


def drop(draft: Draft, input: str, why: str) -> None:
    """Leave out an input that was sent, and tell so."""
    if input in draft.inputs:
        draft.warn(draft.fields.pop(input, input), draft.inputs.pop(input), why)
