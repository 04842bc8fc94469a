"""Adapters: fresh ones have no effect, trained ones load like published ones, the base does not change."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from acestep_flows.errors import InputError
from acestep_flows.model.adapters import Adapter
from acestep_flows.model.placement import Placement
from acestep_flows.model.transformer import Transformer
from acestep_flows.training.kinds.diffusion import build as build_diffusion
from acestep_flows.training.kinds.lora import build, remove_tags
from acestep_flows.training.loop import loop
from acestep_flows.training.loop.recipe import parse_recipe
from tests.model.small import small_checkpoint
from tests.training.encoded_songs import recipe, write_songs

SMALL_ADAPTER = {"rank": 4, "alpha": 8, "rslora": True}


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_songs(tmp_path_factory.mktemp("songs"), tracks=("mix", "vocal"))


def task_of(folder: Path, **sections: object):  # type: ignore[no-untyped-def]
    return build(parse_recipe(recipe("lora", folder, adapter=SMALL_ADAPTER, **sections), "test"), "cpu")  # type: ignore[arg-type]


def test_a_fresh_adapter_has_no_effect(songs: Path) -> None:
    task = task_of(songs)
    plain = build_diffusion(parse_recipe(recipe("diffusion", songs), "test"), "cpu")  # type: ignore[arg-type]
    batch = task.batch(0)
    for each in (task, plain):
        each.networks.lyric_encoder.eval()
    levels, noise = torch.full((len(batch.data),), 0.5), torch.randn_like(batch.data)
    torch.testing.assert_close(task.loss_at(batch, levels, noise), plain.loss_at(batch, levels, noise))


def test_only_the_adapter_is_trained_and_it_loads_like_a_published_one(songs: Path, tmp_path: Path) -> None:
    task = task_of(songs, track="vocal")
    before = {name: tensor.clone() for name, tensor in task.networks.transformer_tensors().items() if ".base." in name}
    loop.train(task, task._recipe, tmp_path)
    after = task.networks.transformer_tensors()
    assert before
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())

    config = small_checkpoint().config("ace_step_transformer")
    adapter = Adapter.load(tmp_path / "export", config)
    assert adapter.scaling is not None
    assert adapter.scaling.of("x", 4) == pytest.approx(4.0)
    assert {name.partition(".")[0] for name in adapter.layers} == {
        "speaker_embedder",
        "lyric_encoder",
        "transformer_blocks",
    }
    assert any(bool(layer.up.abs().max() > 0) for layer in adapter.layers.values())
    base = Transformer.load(small_checkpoint(), Placement())
    memory = base.encode_condition(torch.randn(3, base.config.width), torch.ones(3))
    x, timestep = torch.randn(1, 8, 16, 5), torch.tensor([500.0])
    with torch.no_grad():
        assert not torch.allclose(adapter.apply(base)(x, timestep, [memory]), base(x, timestep, [memory]), atol=1e-6)


def test_the_exported_adapter_equals_the_trained_one(songs: Path, tmp_path: Path) -> None:
    task = task_of(songs, preview={"songs": 0, "measured": 0})
    loop.train(task, task._recipe, tmp_path)
    task.export(tmp_path / "live")  # the live weights, not their average
    config = small_checkpoint().config("ace_step_transformer")
    loaded = Adapter.load(tmp_path / "live", config).apply(Transformer.load(small_checkpoint(), Placement()))
    memory = loaded.encode_condition(torch.randn(3, loaded.config.width), torch.ones(3))
    x, timestep = torch.randn(1, 8, 16, 5), torch.tensor([500.0])
    with torch.no_grad():
        torch.testing.assert_close(task.networks.transformer(x, timestep, [memory]), loaded(x, timestep, [memory]))


def test_an_unknown_target_is_named(songs: Path) -> None:
    with pytest.raises(InputError, match="no linear layer 'to_x'"):
        build(
            parse_recipe(recipe("lora", songs, adapter={"rank": 2, "targets": ["to_q", "to_x"]}), "test"),  # type: ignore[arg-type]
            "cpu",
        )


def test_songs_without_the_track_are_refused(songs: Path) -> None:
    with pytest.raises(InputError, match="tracks that are to be learnt"):
        task_of(songs, track="flute")


def test_tags_that_match_a_pattern_are_removed() -> None:
    tags = ("house", "124 bpm", "A minor", "synth lead")
    assert remove_tags(tags, ("[0-9]+ bpm", ".* minor")) == ("house", "synth lead")
