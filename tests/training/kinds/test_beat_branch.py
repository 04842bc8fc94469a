"""The transformer and a branch for beats learn together: rows with a beat track, rows without, and voices alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from acestep_flows.model.control import ControlBranch
from acestep_flows.model.layout import TRANSFORMER
from acestep_flows.model.placement import Placement
from acestep_flows.training.kinds.diffusion import DiffusionTask, build
from acestep_flows.training.kinds.fixed_rows import keep_rows
from acestep_flows.training.kinds.flow import FlowSettings, draw_levels
from acestep_flows.training.loop import loop
from acestep_flows.training.loop.recipe import parse_recipe
from tests.training.encoded_songs import recipe, write_songs

TRACKS = ("mix", "beat", "vocal")


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_songs(tmp_path_factory.mktemp("songs"), tracks=TRACKS)


def task_of(folder: Path, **sections: object) -> DiffusionTask:
    beat = {"beat": {"share": 0.5, "gain": 0.5}}
    return build(parse_recipe(recipe("diffusion", folder, **(beat | sections)), "test"), "cpu")  # type: ignore[arg-type]


def test_a_share_of_the_rows_hears_its_beat(songs: Path) -> None:
    task = task_of(songs)
    targets = [task.choose_target(song, np.random.default_rng(n)) for n in range(50) for song in task.songs.songs]
    share = np.mean([target.control == "beat" for target in targets])
    assert 0.4 < share < 0.6
    assert {target.track for target in targets} == {"mix"}


def test_rows_without_a_beat_are_as_without_a_branch(songs: Path) -> None:
    task = task_of(songs)
    task.networks.lyric_encoder.eval()
    batch = next(found for found in map(task.batch, range(20)) if found.controlled is not None)
    assert batch.controlled is not None
    levels, noise = torch.full((len(batch.data),), 0.9), torch.randn_like(batch.data)
    with torch.no_grad():
        task.networks.transformer.final_layer.linear.weight.normal_()
        both = task.velocity(batch, noise, levels)
        none = task.velocity(dataclasses.replace(batch, control=None, controlled=None), noise, levels)
    differs = (both - none).abs().amax(dim=(1, 2, 3)) > 1e-4
    assert differs.tolist() == (batch.controlled > 0).tolist()


def test_the_branch_learns_and_is_exported(songs: Path, tmp_path: Path) -> None:
    task = task_of(songs, train_text_encoder=True)
    assert task.branch is not None
    before = task.branch.proj_out.weight.detach().clone()
    settings = parse_recipe(recipe("diffusion", songs, beat={"share": 1.0}, train_text_encoder=True), "test")
    outcome = loop.train(task, settings, tmp_path / "run")
    assert outcome.finished
    assert (task.branch.proj_out.weight - before).abs().max() > 0
    folder = tmp_path / "run" / "export" / "controls" / "beat"
    loaded = ControlBranch.load(folder, task.checkpoint.config(TRANSFORMER), Placement())
    assert float(loaded.gain) != 0


def test_voices_are_learnt_alone(songs: Path) -> None:
    task = task_of(songs, voice=1.0)
    target = task.choose_target(task.songs.songs[1], np.random.default_rng(1))
    assert target.track == "vocal"
    assert set(target.prompt.split(", ")) == {"a cappella", "101 bpm", "A minor"}
    assert target.lyrics == "la la"


def test_fixed_rows_stay_under_gradients_and_decay() -> None:
    embedding = nn.Embedding(6, 4)
    rows = torch.tensor([1, 4])
    before = embedding.weight.detach().clone()
    keep_rows(embedding.get_parameter("weight"), rows)
    optimiser = torch.optim.AdamW(embedding.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(20):
        embedding(torch.arange(6)).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()
    embedding(torch.arange(6)).sum().backward()
    torch.testing.assert_close(embedding.weight.detach()[rows], before[rows])
    assert (embedding.weight.detach()[0] - before[0]).abs().max() > 0.1


def test_a_share_of_the_levels_is_mostly_noise() -> None:
    torch.manual_seed(0)
    plain = draw_levels(40_000, FlowSettings(density="logit_normal", uniform=0.1, shift=2.0))
    high = draw_levels(40_000, FlowSettings(density="logit_normal", uniform=0.1, shift=2.0, high_noise=0.35))
    assert float((plain > 0.95).float().mean()) == pytest.approx(0.02, abs=0.01)
    assert float((high > 0.95).float().mean()) == pytest.approx(0.085, abs=0.02)
    assert float(high.max()) <= 1
