from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acestep_flows.bulk.check import check
from acestep_flows.bulk.gates import Gate
from acestep_flows.bulk.job import BulkJob
from acestep_flows.bulk.prepare import job_of, song_output, stages_in
from acestep_flows.errors import InputError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.embedded import embedded_checkpoint
from tests.bulk.manifests import rows_of, scope

STAGES = {"encode_prompt", "encode_lyrics", "init_noise", "beat", "sample", "decode_latents", "vocode"}
"""Of text2music."""


def test_a_job_holds_what_decides_its_songs(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(embedded_checkpoint(), cache=tmp_path / "cache")
    rows = rows_of(tmp_path, [{"tags": "funk"}], constants={"steps": 3})
    job = job_of(rows, check(rows), checkpoint, seed=5, audio="wav")
    assert (job.graph, job.rows, job.seed, job.audio, job.audio_output) == ("text2music", 1, 5, "wav", "audio")
    assert job.constants == {"steps": 3}
    assert len(job.weights) == 4
    assert all(len(found) == 64 for found in job.weights.values())
    assert set(job.stages) == STAGES
    assert isinstance(job, BulkJob)


@pytest.mark.parametrize(
    ("graph", "options", "words"),
    [
        ("text2music", {"retakes": 1}, "together with --require"),
        ("decode", {"retakes": 1, "gates": (Gate("seconds", ">", 1.0),)}, "has no seed"),
        ("text2music", {"output": "latents"}, "no single audio"),
        ("text2music", {"output": "song"}, "no single audio"),
        ("batch-takes", {}, "no single audio"),
    ],
)
def test_jobs_that_cannot_be_are_refused(tmp_path: Path, graph: str, options: dict[str, Any], words: str) -> None:
    (tmp_path / "x").write_text("")
    row = {"latents": str(tmp_path / "x")} if graph == "decode" else {"tags": "funk", "lyrics": "", "seeds": [1]}
    rows = rows_of(tmp_path, [row], graph)
    with pytest.raises(InputError, match=words):
        job_of(rows, check(rows), None, **options)


def test_nested_graphs_count() -> None:
    assert {"sample", "vocode", "mix"} <= stages_in(scope("stem-set")).keys()


@pytest.mark.parametrize(("graph", "name"), [("text2music", "audio"), ("repaint", "audio")])
def test_the_song_is_found(graph: str, name: str) -> None:
    assert song_output(scope(graph)) == name
