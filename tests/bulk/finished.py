"""A finished job without rendering: rows with measurements of all kinds, and their audio files."""

from __future__ import annotations

import json
import random
from functools import lru_cache
from typing import Any

from acestep_flows.bulk.fingerprint import fingerprint
from acestep_flows.bulk.gates import Gate
from acestep_flows.bulk.job import BulkJob, ManifestSource
from acestep_flows.bulk.measurements import measure_song
from acestep_flows.bulk.results import ResultRow
from tests.bulk.songs import chords

STAGES = {"encode_prompt": 0.02, "encode_lyrics": 0.03, "sample": 1.2, "decode_latents": 0.2, "vocode": 0.3}
INPUTS: dict[str, Any] = {
    "tags": {"type": "text"},
    "lyrics": {"type": "text", "default": ""},
    "duration": {"type": "float", "default": 30},
    "seed": {"type": "seed", "default": "random"},
}
JOB = BulkJob(
    ManifestSource("songs.jsonl", 24, ("id", "tags", "lyrics"), "5" * 64),
    "text2music",
    "d" * 64,
    {"graph": {"graph": "text2music", "inputs": INPUTS}},
    model="acestep-nano-1",
    weights={"transformer": "a" * 64},
    stages=dict.fromkeys(STAGES, 1),
    constants={"duration": 3},
    gates=(Gate("silence_share", "<", 0.5),),
    retakes=2,
)


@lru_cache
def song_facts(seed: int, seconds: float) -> tuple[dict[str, Any], str]:
    """Measurements and fingerprint of a test song."""
    song = chords(seed, seconds)
    return measure_song(song), fingerprint(song)


def done_row(index: int, *, seconds: float = 3.0, attempt: int = 1, retake: int = 0) -> ResultRow:
    """A row that is done; its song is `chords(index)`."""
    draw = random.Random(index)
    measurements, print = song_facts(index % 4, seconds)
    found = dict(measurements, loudness_lufs=draw.gauss(-16, 2), tempo_bpm=draw.uniform(70, 160), seconds=seconds)
    seed = 1000 + index + retake
    return ResultRow(
        id=f"row/{index}",
        index=index,
        line=index + 1,
        status="done",
        attempt=attempt,
        retake=retake,
        inputs_json=json.dumps({"tags": f"lo-fi, take {index}", "lyrics": "[verse]\nla", "duration": 3, "seed": seed}),
        seed=seed,
        graph=JOB.graph,
        graph_digest=JOB.digest,
        weights_digest="w" * 64,
        versions={"acestep_flows": "0.1", "torch": "2"},
        recipe_digest=f"{index:064x}",
        audio_path=f"audio/000/row_{index}.flac",
        audio_bytes=250_000,
        audio_digest=f"{index:064x}",
        fingerprint=print,
        duration=seconds + draw.uniform(-0.2, 0.2),
        sample_rate=48_000,
        measurements=found,
        stage_seconds={name: mean * draw.uniform(0.7, 1.6) for name, mean in STAGES.items()},
        finished=1_790_000_000.0 + 4 * index + draw.random(),
    )
