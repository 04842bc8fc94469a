"""Control branches: their tracks and prompts, and an exported folder that the stages load with its adapter."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.control import WEIGHTS
from acestep_flows.model.placement import Placement
from acestep_flows.sampling.noise import draw
from acestep_flows.stages.encode_lyrics import EncodeLyrics
from acestep_flows.stages.encode_prompt import EncodePrompt
from acestep_flows.stages.sample import Sample
from acestep_flows.training.kinds.control import ControlTask, build
from acestep_flows.training.loop import loop
from acestep_flows.training.loop.recipe import parse_recipe
from acestep_flows.values import Latents, Noise
from tests.model.small import small_folder
from tests.training.encoded_songs import recipe, write_songs

TRACKS = ("mix", "vocal", "bass", "drums", "without vocal", "without bass", "without drums")
ACCOMPANY = {"control": "vocal", "target": "without vocal", "forget": ["[0-9]+ bpm"], "forget_share": 1.0}
STEMS = {"control": "without *", "target": "*", "stems": ["bass", "drums"], "words": "stem", "lyrics": "instrumental"}
ADAPTER = {"rank": 4, "alpha": 4, "rslora": False, "targets": ["to_q", "to_k", "to_v", "to_out.0"]}


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_songs(tmp_path_factory.mktemp("songs"), tracks=TRACKS)


def task_of(folder: Path, **sections: object) -> ControlTask:
    return build(parse_recipe(recipe("control", folder, **sections), "test"), "cpu")  # type: ignore[arg-type]


def test_the_vocal_is_heard_and_the_rest_is_learnt(songs: Path) -> None:
    task = task_of(songs, pair=ACCOMPANY)
    song = task.songs.songs[1]
    target = task.choose_target(song, np.random.default_rng(0))
    assert (target.control, target.track, target.lyrics) == ("vocal", "without vocal", "la la")
    assert "bpm" not in target.prompt
    crops = task._batches.batch(0)
    batch = task.batch(0)
    assert batch.control is not None
    for row, crop in enumerate(crops):
        expected = task.songs.latents(crop.song, "without vocal", crop.start, crop.frames)
        np.testing.assert_array_equal(batch.data[row, ..., : crop.frames], expected)
        heard = task.songs.latents(crop.song, "vocal", crop.start, crop.frames)
        np.testing.assert_array_equal(batch.control[row, ..., : crop.frames], heard)


def test_a_stem_is_learnt_beside_all_others(songs: Path) -> None:
    task = task_of(songs, pair=STEMS)
    targets = [task.choose_target(task.songs.songs[1], np.random.default_rng(seed)) for seed in range(20)]
    assert {(target.control, target.track) for target in targets} == {
        ("without bass", "bass"),
        ("without drums", "drums"),
    }
    assert {target.lyrics for target in targets} == {"[inst]"}
    prompts = {target.prompt for target in targets if target.track == "bass"}
    assert prompts <= {"synth bass", "synth bass, house", "house, synth bass"}


def test_without_gain_the_branch_has_no_effect_but_a_gradient(songs: Path) -> None:
    task = task_of(songs, pair=ACCOMPANY)
    task.networks.lyric_encoder.eval()
    batch = task.batch(0)
    levels, noise = torch.full((len(batch.data),), 0.5), torch.randn_like(batch.data)
    loss = task.loss_at(batch, levels, noise)
    loss.backward()
    assert task.branch.gain.grad is not None
    assert float(task.branch.gain.grad.abs()) > 0
    with torch.no_grad():
        task.branch.proj_out.weight.mul_(-3)
        torch.testing.assert_close(task.loss_at(batch, levels, noise), loss)
        task.branch.gain.fill_(1.0)
        assert not torch.allclose(task.loss_at(batch, levels, noise), loss)


def test_emphasis_multiplies_the_exported_strength(songs: Path, tmp_path: Path) -> None:
    for name, emphasis in (("plain", 1.0), ("loud", 3.0)):
        task_of(songs, pair=ACCOMPANY, gain=0.5, emphasis=emphasis).export(tmp_path / name)
    plain, loud = (load_file(tmp_path / name / WEIGHTS) for name in ("plain", "loud"))
    assert float(loud.pop("gain")) == 3 * float(plain.pop("gain"))
    assert all(torch.equal(tensor, loud[name]) for name, tensor in plain.items())


def test_stages_apply_the_branch_and_its_adapter(songs: Path, tmp_path: Path) -> None:
    task = task_of(songs, pair=ACCOMPANY, adapter=ADAPTER, gain=0.5)
    loop.train(task, task._recipe, tmp_path / "run")
    export = tmp_path / "run" / "export"
    checkpoint = Checkpoint.open(small_folder())
    prompt_stage, lyric_stage, sample = EncodePrompt(), EncodeLyrics(), Sample()
    for stage in (prompt_stage, lyric_stage, sample):
        stage.load(checkpoint, Placement())
    prompt = prompt_stage.run([EncodePrompt.In()], [EncodePrompt.Params(tags="house")])[0].prompt
    lyrics = lyric_stage.run([EncodeLyrics.In()], [EncodeLyrics.Params(lyrics="la")])[0].lyrics
    control = Latents(task.songs.latents(1, "vocal"))

    def song(folder: Path) -> np.ndarray:
        item = Sample.In(prompt, lyrics, Noise(draw(1, control.frames), 1), control=control)
        params = Sample.Params(steps=3, guidance_scale=0.0, control_branch=str(folder))
        return np.asarray(sample.run([item], [params])[0].latents.array)

    without_adapter = tmp_path / "bare"
    shutil.copytree(export, without_adapter)
    (without_adapter / "pytorch_lora_weights.safetensors").unlink()
    assert np.abs(song(export) - song(without_adapter)).max() > 1e-6
    params = Sample.Params(control_branch=str(export))
    assert Sample.weights(checkpoint, params) != Sample.weights(
        checkpoint, Sample.Params(control_branch=str(without_adapter))
    )
