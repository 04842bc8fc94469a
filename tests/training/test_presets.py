"""The presets for the published model say what the specification does (spec 05 sections 2 to 6)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acestep_flows.model.layout import TRANSFORMER
from acestep_flows.training.data.encode import load_encode_recipe
from acestep_flows.training.kinds.control import ControlRecipe
from acestep_flows.training.kinds.diffusion import DiffusionRecipe
from acestep_flows.training.kinds.lora import LoraRecipe
from acestep_flows.training.kinds.low_rank import refined_layers
from acestep_flows.training.kinds.song_task import SongRecipe
from acestep_flows.training.kinds.teachers import PUBLISHED
from acestep_flows.training.loop.recipe import load_recipe

KINDS = ("diffusion", "lora", "control")


def preset(kind: str) -> SongRecipe:
    found = load_recipe(f"ace-step-{kind}", kind=kind)
    assert isinstance(found, SongRecipe)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_optimiser_and_the_loss(kind: str) -> None:
    recipe = preset(kind)
    loop = recipe.loop
    assert (loop.learning_rate, loop.betas, loop.weight_decay, loop.clip) == (1e-4, (0.8, 0.9), 1e-2, 0.5)
    assert loop.schedule == "linear"
    assert loop.gradient_checkpointing
    assert (recipe.flow.density, recipe.flow.error) == ("published", "data")


@pytest.mark.parametrize("kind", KINDS)
def test_conditions(kind: str) -> None:
    conditions = preset(kind).conditions
    assert conditions.lyric_rule == "training"
    assert conditions.shuffle_tags
    assert (conditions.drop_text, conditions.drop_lyrics) == (0.15, 0.15)
    assert conditions.drop_tag == conditions.tempo_jitter == conditions.stray == conditions.mark_instrumental == 0
    assert conditions.keep_lyric_mask == 0


@pytest.mark.parametrize("kind", KINDS)
def test_songs_are_taken_whole_one_at_a_time(kind: str) -> None:
    data = preset(kind).data
    assert (data.frames, data.rows, data.crop) == (2584, 1, None)
    assert preset(kind).preview.steps == 60


def test_the_whole_transformer() -> None:
    recipe = preset("diffusion")
    assert isinstance(recipe, DiffusionRecipe)
    loop = recipe.loop
    assert (loop.steps, loop.warmup, loop.accumulate, loop.average) == (240_000, 4000, 1, 0)
    assert (loop.save_every, loop.preview_every) == (2000, 2000)
    assert not recipe.train_text_encoder
    assert recipe.repa is not None
    assert recipe.repa.coefficient == 1.0
    teachers = recipe.repa.teachers
    assert {name: (one.model, one.weight) for name, one in teachers.items()} == {
        "mert": ("m-a-p/MERT-v1-330M", 1.0),
        "m-hubert": ("utter-project/mHuBERT-147", 0.01),
    }
    assert teachers["mert"].remote_code
    assert not teachers["m-hubert"].remote_code
    assert {name: (one.rate, one.chunk) for name, one in PUBLISHED.items()} == {
        "mert": (24_000, 5.0),
        "m-hubert": (16_000, 30.0),
    }


def test_the_adapter_is_as_the_released_one(request: pytest.FixtureRequest) -> None:
    recipe = preset("lora")
    assert isinstance(recipe, LoraRecipe)
    adapter = recipe.adapter
    assert (adapter.rank, adapter.alpha, adapter.rslora) == (256, 32, True)
    assert set(adapter.targets) == {
        *("speaker_embedder", "linear_q", "linear_k", "linear_v", "to_q", "to_k", "to_v", "to_out.0"),
    }
    assert adapter.scaling.of("to_q", 256) == 2.0
    reference: Path = request.config.getoption("--reference")
    if not reference.is_dir():
        pytest.skip(f"no reference at {reference}; give --reference DIR")
    config = json.loads((reference / "published-configs" / TRANSFORMER / "config.json").read_text("utf-8"))
    layers = refined_layers(config, adapter)
    assert len(layers) == 211  # 24 blocks of 8, 6 layers of the lyric encoder of 3, and the speaker's
    assert not [name for name in layers if any(part in name for part in ("linear_out", "linear_pos", "add_", ".ff."))]


def test_the_control_branch_hears_the_rest_and_plays_the_stem() -> None:
    recipe = preset("control")
    assert isinstance(recipe, ControlRecipe)
    assert (recipe.pair.control, recipe.pair.target) == ("without *", "*")


def test_encoding_reads_upstreams_folder() -> None:
    assert load_encode_recipe("ace-step-encode").source.kind == "folder"
