"""What the parts of a run cost, in seconds: from the roofline of a card, or as measured on a card or a server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from acestep_flows.errors import InputError

FRAMES_PER_SECOND = 44_100 / 512 / 8
"""Frames of latents in a second of music."""

FLOPS_PER_ROW_FRAME = 4.25e9
"""Of the published denoiser: 2.49 G parameters, one row of a pass, one frame of latents."""

WEIGHT_BYTES = 2 * 2.49e9
KERNELS, LAUNCH_SECONDS = 892, 5e-6
"""Kernels of a pass as counted on `meta`, and what the launch of one costs."""

DECODE_FLOPS, VOCODE_FLOPS = 46e12 / 240, 57e12 / 240
"""Of a second of music."""


@dataclass(frozen=True)
class Card:
    """Peak rates of a GPU in bfloat16, and the share of them that products are taken to reach."""

    flops: float
    bytes_per_second: float
    share: float = 0.6


CARDS = {
    "A100": Card(312e12, 2.0e12),
    "RTX-4090": Card(165e12, 1.0e12),
    "H200": Card(989e12, 4.8e12),
}


@dataclass(frozen=True)
class Costs:
    """Seconds, if nothing else is said.

    Attributes:
        turn: of a turn of the step engine, whatever is in it.
        row_frame: of one row of a pass, for each frame of latents.
        per_call: of a call of a stage, by stage.
        per_second: of a call of a stage, for each second of music, by stage. Both are spent on the replica's device.
        accept: of the HTTP process, for each run: its submission, claim, events, files and answers. `benchmarks.soak`
            saw 0.09 of them on a core of an AMD server processor, of which `call` is a part.
        call: of the HTTP process, for each call of a stage.
        hop: how long a call takes beside the stage's own work.
        row: of the run table, for each run. It is one: no two runs are written at a time. `benchmarks.store` saw 196
            runs a second by two executors on PostgreSQL, on two cores that others used as well.
        object_store: until the store has answered, whatever the size.
        bytes_per_second: between a machine and the store.
        audio_bytes: of an output, for each second of music.
        other: of the machine's cores, for each call: Ray's own processes.
        company: how many times longer the work of a core takes while all other cores of its machine work. They share
            memory, caches, heat, and in a rented machine often one core of the host.
        beside: share of `call` and `other` that is done while the run goes on, as writing its row and events is.
    """

    turn: float
    row_frame: float
    per_call: dict[str, float] = field(default_factory=dict)
    per_second: dict[str, float] = field(default_factory=dict)
    accept: float = 0.090
    call: float = 0.0
    hop: float = 0.016
    row: float = 1 / 196
    object_store: float = 0.030
    bytes_per_second: float = 1.25e9
    audio_bytes: float = 130e3
    other: float = 0.0
    company: float = 1.0
    beside: float = 0.0

    def turn_of(self, row_frames: float) -> float:
        """Of a turn with so many rows times frames."""
        return self.turn + self.row_frame * row_frames

    def stage(self, name: str, seconds: float) -> float:
        """Of a call on so much music, for stages that do not take steps."""
        return self.per_call.get(name, 0.0) + seconds * self.per_second.get(name, 0.0)


OF_A_PROCESSOR = {"mix", "trim", "join", "measure", "compare", "pick", "export", "keep_outside", "beat"}
PER_SECOND_OF_A_PROCESSOR = 0.004
"""Of a core, for a stage that works on samples. Measured with `compare`, the dearest, and taken for all."""


def of_card(name: str) -> Costs:
    """Costs on a card, from its peak rates. No pass was timed for them.

    Raises:
        InputError: the card is not known.
    """
    if name not in CARDS:
        raise InputError(f"card {name!r} is not known", where="--card", allowed=", ".join(CARDS))
    card = CARDS[name]
    reached = card.flops * card.share
    return Costs(
        turn=max(KERNELS * LAUNCH_SECONDS, WEIGHT_BYTES / card.bytes_per_second),
        row_frame=FLOPS_PER_ROW_FRAME / reached,
        per_call={"encode_prompt": 0.010, "encode_lyrics": 0.010, "init_noise": 0.005},
        per_second={
            "decode_latents": DECODE_FLOPS / reached,
            "vocode": VOCODE_FLOPS / reached,
            "encode_audio": DECODE_FLOPS / reached,
            **dict.fromkeys(OF_A_PROCESSOR, PER_SECOND_OF_A_PROCESSOR),
        },
    )


def of_gpu_file(path: Path, base: Costs) -> Costs:
    """`base` with what `python -m benchmarks.gpu --json FILE` has measured: passes by least squares, and decoders.

    Raises:
        InputError: the file is not one of that benchmark.
    """
    try:
        measured: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        points = [
            (row["rows"] * row["song_seconds"] * FRAMES_PER_SECOND, min(_ways(row)) / 1000)
            for row in measured["passes"]
            if "milliseconds" in row
        ]
        longest = max(measured["songs"], key=lambda song: song["song_seconds"])
        decoders = {
            stage: longest[part] / longest["song_seconds"]
            for stage, part in (
                ("decode_latents", "autoencoder"),
                ("encode_audio", "autoencoder"),
                ("vocode", "vocoder"),
            )
        }
        turn, row_frame = line(points)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"not a result of benchmarks.gpu ({type(error).__name__}: {error})"
        raise InputError(what, where=str(path), allowed="what `python -m benchmarks.gpu --json FILE` wrote") from None
    return replace(base, turn=turn, row_frame=row_frame, per_second={**base.per_second, **decoders})


def _ways(row: dict[str, Any]) -> list[float]:
    """Milliseconds of a pass, eager and recorded."""
    return [way["milliseconds"] for way in (row, row.get("recorded")) if way]


def line(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Constant and slope of the line through points, by least squares, neither below zero.

    Raises:
        ValueError: there are no two different places.
    """
    if len({place for place, _ in points}) < 2:
        raise ValueError("fewer than two sizes of passes were measured")
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    slope = max(slope, 0.0)
    return max(mean_y - slope * mean_x, 0.0), slope


def with_given(costs: Costs, settings: Sequence[str]) -> Costs:
    """`costs` with single ones replaced, as `row=0.005`.

    Raises:
        InputError: there is no such cost, or no number.
    """
    names = [one.name for one in fields(Costs) if one.type == "float"]
    changed = {}
    for setting in settings:
        name, _, number = setting.partition("=")
        try:
            if name not in names or float(number) < 0:
                raise ValueError
            changed[name] = float(number)
        except ValueError:
            raise InputError(
                f"not a cost: {setting}", where="--set", allowed=f"NAME=NUMBER of {', '.join(names)}"
            ) from None
    return replace(costs, **changed)
