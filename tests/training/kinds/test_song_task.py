"""Diffusion training on encoded songs: batches, trained parts, exports, previews and resumed runs."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from acestep_flows.errors import InputError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.sampling.noise import draw
from acestep_flows.sampling.schedule import even_schedule
from acestep_flows.training.data.batches import Crop
from acestep_flows.training.data.encoded import write_shard
from acestep_flows.training.kinds.conditions import Blanks
from acestep_flows.training.kinds.diffusion import DiffusionRecipe, DiffusionTask, build
from acestep_flows.training.kinds.preview import PreviewSettings, sample
from acestep_flows.training.loop import loop
from acestep_flows.training.loop.recipe import parse_recipe
from tests.model.small import small_folder, write_weights
from tests.training.encoded_songs import encoding, recipe, write_songs


def task_of(folder: Path, **sections: object) -> DiffusionTask:
    parsed = parse_recipe(recipe("diffusion", folder, **sections), "test")
    assert isinstance(parsed, DiffusionRecipe)
    return build(parsed, "cpu")


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_songs(tmp_path_factory.mktemp("songs"))


def test_a_batch_depends_on_its_number_alone(songs: Path) -> None:
    first, second = task_of(songs), task_of(songs)
    for index in (5, 0, 3):
        batch, same_batch = first.batch(index), second.batch(index)
        assert torch.equal(batch.data, same_batch.data)
        assert torch.equal(batch.words.text_ids, same_batch.words.text_ids)
        assert torch.equal(batch.words.blanks.text, same_batch.words.blanks.text)


def test_padded_frames_carry_no_loss(songs: Path) -> None:
    task = task_of(songs, flow={"density": "logit_normal", "error": "velocity"})
    batch = next(batch for batch in map(task.batch, range(50)) if batch.lengths is not None)
    levels, noise = torch.full((len(batch.data),), 0.5), torch.randn_like(batch.data)
    loss = task.loss_at(batch, levels, noise)
    for row, length in enumerate(batch.lengths or ()):
        noise[row, ..., length:] = 100.0
    assert torch.allclose(task.loss_at(batch, levels, noise), loss, rtol=1e-4)


def test_held_out_songs_are_never_learnt(songs: Path) -> None:
    task = task_of(songs)
    learnt = {crop.song for index in range(20) for crop in task._batches.batch(index)}
    assert task.held_out
    assert not learnt & set(task.held_out)


def test_only_songs_with_the_given_tags_are_used(songs: Path) -> None:
    data = {"encoded": str(songs), "frames": 40, "rows": 4, "tagged": ["101 bpm", "104 bpm", "jazz"]}
    task = task_of(songs, data=data)
    crops = [crop for index in range(20) for crop in task._batches.batch(index)]
    learnt = {tag for crop in crops for tag in task.songs.songs[crop.song].tags}
    assert learnt == {"house", "A minor", "101 bpm", "104 bpm"}
    with pytest.raises(InputError, match="^data.tagged: no song is tagged jazz or rock"):
        task_of(songs, data=data | {"tagged": ["jazz", "rock"]})


def test_blanked_rows_have_equal_conditions(songs: Path) -> None:
    always = {"lyric_rule": "inference", "drop_text": 0.999999, "drop_lyrics": 0.999999}
    task = task_of(songs, conditions=always)
    task.networks.lyric_encoder.eval()
    conditions = task.networks.condition(task.batch(0).words)
    assert all(torch.equal(row[:2], conditions.tokens[0, :2]) for row in conditions.tokens)


def test_a_frozen_text_encoder_gets_no_gradients(songs: Path) -> None:
    frozen, trained = task_of(songs), task_of(songs, train_text_encoder=True)
    assert "text_encoder" not in frozen.modules()
    frozen.loss(frozen.batch(0))["loss"].backward()
    assert all(parameter.grad is None for parameter in frozen.networks.text.parameters())
    trained.loss(trained.batch(0))["loss"].backward()
    assert any(parameter.grad is not None for parameter in trained.networks.text.parameters())


def test_training_exports_a_checkpoint_that_opens(songs: Path, tmp_path: Path) -> None:
    task = task_of(songs, train_text_encoder=True)
    before = load_file(small_folder() / "ace_step_transformer" / "diffusion_pytorch_model.safetensors")
    outcome = loop.train(task, task._recipe, tmp_path / "run")
    assert outcome.finished
    folder = tmp_path / "model"
    shutil.copytree(small_folder(), folder)
    shutil.copytree(tmp_path / "run" / "export", folder, dirs_exist_ok=True)
    Checkpoint.open(folder)
    after = load_file(folder / "ace_step_transformer" / "diffusion_pytorch_model.safetensors")
    assert set(after) <= set(before)
    assert not any(".add_" in name for name in after)
    assert not torch.equal(after["genre_embedder.weight"].float(), before["genre_embedder.weight"].float())
    assert not torch.equal(after["lyric_embs.weight"].float(), before["lyric_embs.weight"].float())
    previews = tmp_path / "run" / "previews" / "step-00000004"
    assert {file.suffix for file in previews.iterdir()} == {".png", ".flac", ".txt"}
    assert '"velocity_other_text"' in (tmp_path / "run" / "curve.jsonl").read_text()


def test_a_resumed_run_equals_an_uninterrupted_one(songs: Path, tmp_path: Path) -> None:
    quiet = {"songs": 0, "measured": 0}
    whole, halved = task_of(songs, preview=quiet), task_of(songs, preview=quiet)
    loop.train(whole, whole._recipe, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "halved")
    (tmp_path / "halved" / "states" / "step-00000004.pt").unlink()
    loop.train(halved, halved._recipe, tmp_path / "halved", resume=True)
    for module, resumed in zip(whole.modules().values(), halved.modules().values(), strict=True):
        for name, tensor in module.state_dict().items():
            assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_lyric_mask_of_a_song_without_lyrics(songs: Path) -> None:
    for rule, expected in (("inference", 0.0), ("training", 1.0)):
        task = task_of(songs, conditions={"lyric_rule": rule})
        ids, mask = task._lyric_ids.of("")
        assert ids.tolist() == [0]
        assert mask.tolist() == [expected]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no encoded songs"):
        task_of(tmp_path)


def test_a_run_is_resumed_with_the_same_content_only(tmp_path: Path) -> None:
    """The same content may lie elsewhere."""
    for name in ("songs", "moved"):
        write_songs(tmp_path / name)
    shutil.copytree(small_folder(), tmp_path / "base")

    def resume(songs: str, steps: int) -> loop.TrainingOutcome:
        settings = recipe("diffusion", tmp_path / songs)["loop"] | {"steps": steps}
        sections = {"checkpoint": str(tmp_path / "base"), "loop": settings, "preview": {"songs": 0, "measured": 0}}
        task = task_of(tmp_path / songs, **sections)
        return loop.train(task, task._recipe, tmp_path / "run", resume=True)

    resume("songs", 1)
    assert resume("moved", 2).step == 2
    write_shard(tmp_path / "moved", 1, [encoding(9, 12)])
    with pytest.raises(InputError, match=r"what is behind data\.encoded has changed"):
        resume("moved", 3)
    file = tmp_path / "base" / "ace_step_transformer" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    write_weights(file, {name: tensor * 1.5 for name, tensor in tensors.items()})
    with pytest.raises(InputError, match="what is behind checkpoint has changed"):
        resume("songs", 3)


def test_preview_songs_are_sampled_by_euler_with_plain_guidance(songs: Path) -> None:
    """Compare with Euler's method written out over the task's own velocities."""
    task = task_of(songs)
    for module in task.modules().values():
        module.eval()
    settings = PreviewSettings(steps=4, guidance_scale=3.0)
    crop, target = Crop(1, 0, 12), task.choose_target(task.songs.songs[1], np.random.default_rng(1))
    words = [task.tokenize([target], blanks) for blanks in (Blanks.none(1), Blanks.all(1))]
    latents = torch.from_numpy(draw(1, 12))[None]
    sigmas = even_schedule(4).sigmas
    with torch.no_grad():
        for level, level_next in itertools.pairwise(sigmas):
            conditional, null = (
                task.velocity(task.song_batch(latents, tokens, None), latents, torch.full((1,), level))
                for tokens in words
            )
            latents = latents + (level_next - level) * (null + 3.0 * (conditional - null))
    torch.testing.assert_close(sample(task, crop, target, settings), latents[0], atol=1e-4, rtol=1e-4)
