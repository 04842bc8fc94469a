"""Songs with random latents, in the files that the encode job writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from acestep_flows.training.data.encoded import ABOUT, Broken, EncodedSong, Encoding, write_shard
from tests.model.small import small_folder

LOOP = {
    "steps": 4,
    "learning_rate": 1e-2,
    "betas": [0.9, 0.99],
    "save_every": 2,
    "log_every": 1,
    "precision": "float32",
}


def encoding(number: int, frames: int, tracks: Sequence[str] = ("mix",), lyrics: str = "la la") -> Encoding:
    random = np.random.default_rng(number)
    latents = {name: random.standard_normal((8, 16, frames)).astype(np.float16).astype(np.float32) for name in tracks}
    song = EncodedSong(
        f"song {number}",
        ("house", f"{100 + number} bpm", "A minor"),
        lyrics if number % 2 else "",
        frames,
        dict.fromkeys(tracks, 0),
        labels={"style": "house", "bass": "synth bass", "drums": "kit"},
    )
    return Encoding(song, latents)


def write_songs(
    folder: Path, lengths: Sequence[int] = (12, 8, 10, 12, 9, 12, 11, 12), tracks: Sequence[str] = ("mix",)
) -> Path:
    """Write two shards, the first with a broken song."""
    songs: list[Encoding | Broken] = [encoding(number, frames, tracks) for number, frames in enumerate(lengths)]
    half = len(songs) // 2
    write_shard(folder, 0, [*songs[:half], Broken("damaged", "silent")])
    write_shard(folder, 1, songs[half:])
    (folder / ABOUT).write_text(json.dumps({"songs": len(lengths) + 1}))
    return folder


def recipe(kind: str, folder: Path, **sections: Any) -> dict[str, Any]:
    """A recipe for the small checkpoint and the songs in `folder`."""
    return {
        "kind": kind,
        "seed": 3,
        "checkpoint": str(small_folder()),
        "data": {"encoded": str(folder), "frames": 40, "rows": 4, "held_out": 2},
        "conditions": {"lyric_rule": "inference"},
        "preview": {"songs": 1, "frames": 6, "steps": 2, "measured": 2},
        "loop": dict(LOOP),
    } | sections
