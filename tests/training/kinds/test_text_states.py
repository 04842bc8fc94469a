"""Text states of a frozen encoder: encoded once, the same bits cached or not, within the cache's capacity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from acestep_flows.model.placement import Placement
from acestep_flows.model.text_encoder import TextEncoder
from acestep_flows.training.kinds.control import build as build_control
from acestep_flows.training.kinds.diffusion import build as build_diffusion
from acestep_flows.training.kinds.lora import build as build_lora
from acestep_flows.training.kinds.song_task import SongTask
from acestep_flows.training.kinds.text_states import TextStates
from acestep_flows.training.loop.recipe import parse_recipe
from tests.model.small import small_checkpoint
from tests.training.encoded_songs import recipe, write_songs

PROMPTS = ["house", "jazz, 120 bpm, A minor", "rock, slow"]
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "diffusion": (build_diffusion, {}),
    "lora": (build_lora, {"adapter": {"rank": 2}}),
    "control": (build_control, {"pair": {"control": "vocal", "target": "mix"}, "gain": 0.5}),
}


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder.load(small_checkpoint(), Placement())


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_songs(tmp_path_factory.mktemp("songs"), tracks=("mix", "vocal"))


def task_of(kind: str, songs: Path, **sections: object) -> SongTask:
    build, kind_sections = KINDS[kind]
    task: SongTask = build(parse_recipe(recipe(kind, songs, **kind_sections, **sections), "test"), "cpu")
    return task


def test_states_equal_those_of_the_encoder(encoder: TextEncoder) -> None:
    ids, mask = encoder.tokenize(PROMPTS)
    states = TextStates(encoder.model, 2**20).of(ids, mask)
    expected = encoder.states(ids, mask) * mask.unsqueeze(-1)
    torch.testing.assert_close(states, expected, rtol=1e-4, atol=1e-5)


def test_other_prompts_in_a_batch_change_no_bit(encoder: TextEncoder) -> None:
    ids, mask = encoder.tokenize(PROMPTS)
    together = TextStates(encoder.model, 0).of(ids, mask)
    for row in range(len(PROMPTS)):
        length = int(mask[row].sum())
        alone = TextStates(encoder.model, 0).of(ids[row : row + 1, :length], mask[row : row + 1, :length])
        assert torch.equal(alone[0], together[row, :length])


def test_the_cache_keeps_the_most_recently_used_states(encoder: TextEncoder) -> None:
    rows = [encoder.tokenize([prompt]) for prompt in PROMPTS]
    sizes = [TextStates(encoder.model, 0).of(*row).nbytes for row in rows]
    states = TextStates(encoder.model, sizes[0] + max(sizes[1:]))
    for row in (0, 1, 0, 0, 2, 0, 1):
        states.of(*rows[row])
        assert states._bytes <= states._capacity
    assert states.encoded == 4  # 0, 1, 2, which replaces 1, and 1 again


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_the_same_with_and_without_cache(kind: str, songs: Path) -> None:
    def losses(text_cache: int) -> tuple[list[Tensor], int]:
        task = task_of(kind, songs, tellings=1, text_cache=text_cache)
        values = []
        for index in (0, 1, 0, 1, 2, 3):
            torch.manual_seed(index)
            with torch.autocast("cpu", torch.bfloat16):
                values.append(task.loss(task.batch(index))["loss"])
        return values, task.networks.text_states.encoded

    (cached, few), (uncached, many) = losses(16), losses(0)
    assert all(torch.equal(first, second) for first, second in zip(cached, uncached, strict=True))
    assert few <= len(write_songs.__defaults__[0]) < many  # type: ignore[index]


def test_a_trained_encoder_is_not_cached(songs: Path) -> None:
    task = task_of("diffusion", songs, train_text_encoder=True)
    task.loss(task.batch(0))
    assert task.networks.text_states.encoded == 0


def test_tellings_limit_the_prompts_of_a_song(songs: Path) -> None:
    def prompts(**sections: object) -> set[bytes]:
        task = task_of("lora", songs, **sections)
        song = task._batches.batch(0)[0]
        texts = set()
        for index in range(40):
            random = task._target_random(song.song, np.random.default_rng(index))
            texts.add(task.choose_target(task.songs.songs[song.song], random).prompt.encode())
        return texts

    assert len(prompts(tellings=1)) == 1
    assert len(prompts(tellings=2)) == 2
    assert len(prompts()) == 6  # all orders of three tags
