"""A batch of songs goes through the network together, and each comes out as it would alone.

Guidance of 15 over so few steps would magnify the rounding of one part in ten million past the tolerance.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acestep_flows.errors import Cancelled, CheckpointError, InputError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.stages.contract import Watch
from tests.stages.material import latents
from tests.stages.running import loaded, run


@pytest.fixture(scope="module")
def conditions(small: Checkpoint) -> dict[str, Any]:
    return {
        "prompt": run("encode_prompt", small, {"tags": "pop, drums"}).prompt,
        "lyrics": run("encode_lyrics", small, {"lyrics": "[verse]\nhello"}).lyrics,
    }


def noise_of(small: Checkpoint, seed: int, duration: float) -> Any:
    return run("init_noise", small, {"seed": seed, "duration": duration}).noise


def test_a_batch_is_as_its_songs_alone(small: Checkpoint, conditions: dict[str, Any]) -> None:
    stage: Any = loaded("sample", small)
    wanted: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"noise": noise_of(small, 1, 2.0)}, {"steps": 4}),
        ({"noise": noise_of(small, 2, 3.0)}, {"steps": 3, "solver": "heun"}),
        ({"noise": noise_of(small, 3, 2.0), "control": latents(40)}, {"steps": 3}),
        ({"noise": noise_of(small, 4, 2.0)}, {"steps": 5, "adapter": "voice", "solver": "pingpong"}),
    ]
    batch = [stage.In(**conditions, **ports) for ports, _ in wanted]
    params = [stage.Params(guidance_scale=5.0, **chosen) for _, chosen in wanted]
    outs = stage.run(batch, params)
    assert isinstance(outs[2], InputError)
    for index in (0, 1, 3):
        (alone,) = stage.run([batch[index]], [params[index]])
        np.testing.assert_allclose(outs[index].latents.array, alone.latents.array, atol=1e-5, rtol=0)
        assert outs[index].report == alone.report


class Hearing(Watch):
    def __init__(self) -> None:
        self.heard: list[tuple[int, int, int]] = []

    def step(self, item: int, done: int, total: int) -> None:
        self.heard.append((item, done, total))
        if (item, done) == (1, 2):
            raise Cancelled("enough")


def test_each_song_of_a_batch_is_watched(small: Checkpoint, conditions: dict[str, Any]) -> None:
    stage: Any = loaded("sample", small)
    batch = [stage.In(**conditions, noise=noise_of(small, seed, 1.0)) for seed in (1, 2)]
    hearing = Hearing()
    kept, stopped = stage.run(batch, [stage.Params(steps=3), stage.Params(steps=4)], hearing)
    assert kept.latents.frames == 10
    assert isinstance(stopped, Cancelled)
    assert sorted(hearing.heard) == [(0, 0, 3), (0, 1, 3), (0, 2, 3), (0, 3, 3), (1, 0, 4), (1, 1, 4), (1, 2, 4)]


def with_own_guidance(small: Checkpoint, folder: Path, own: dict[str, Any]) -> Checkpoint:
    """A copy of the checkpoint whose model brings `own`."""
    shutil.copytree(small.root, folder)
    config = folder / "ace_step_transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"sampling": own}))
    return Checkpoint.open(folder)


def test_what_nobody_chose_is_as_the_model_brings_it(
    small: Checkpoint, conditions: dict[str, Any], tmp_path: Path
) -> None:
    own = {"guidance": "cfg", "guidance_scale": 3.0, "guidance_interval": 1.0, "erg_tag": False}
    given = conditions | {"noise": noise_of(small, 1, 2.0)}
    model = with_own_guidance(small, tmp_path / "model", own)
    asked = run("sample", small, {"steps": 3, **own}, **given)
    brought = run("sample", model, {"steps": 3}, **given)
    assert brought.latents == asked.latents
    assert brought.report.entries["guidance"] == asked.report.entries["guidance"]
    assert brought.report.entries["guidance"] == {**own, "erg_lyric": True, "erg_diffusion": True}
    published = run("sample", small, {"steps": 3}, **given)
    assert published.latents != brought.latents
    over = {"guidance": "apg", "guidance_scale": 15.0, "guidance_interval": 0.5, "erg_tag": True}
    assert run("sample", model, {"steps": 3, **over}, **given).latents == published.latents


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"scale": 3}, r"sampling\.scale: no such field \(allowed: .*guidance_scale"),
        ({"guidance": "best"}, r"sampling\.guidance: text 'best' \(allowed: apg, cfg, cfg_star\)"),
    ],
)
def test_a_model_that_brings_what_no_sampler_knows_is_refused(
    small: Checkpoint, conditions: dict[str, Any], tmp_path: Path, own: dict[str, Any], told: str
) -> None:
    model = with_own_guidance(small, tmp_path / "model", own)
    stage: Any = loaded("sample", model)
    (out,) = stage.run([stage.In(**conditions, noise=noise_of(small, 1, 2.0))], [stage.Params(steps=2)])
    assert isinstance(out, CheckpointError)
    with pytest.raises(CheckpointError, match=rf"ace_step_transformer/config\.json: {told}"):
        raise out
