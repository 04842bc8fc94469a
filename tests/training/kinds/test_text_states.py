"""Text states of a frozen encoder: encoded once, the same bits however they are come by, within their memory."""

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
OWN: dict[str, tuple[Any, dict[str, Any]]] = {
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
    build, own = OWN[kind]
    task: SongTask = build(parse_recipe(recipe(kind, songs, **own, **sections), "test"), "cpu")
    return task


def test_states_are_the_encoders(encoder: TextEncoder) -> None:
    ids, mask = encoder.tokenize(PROMPTS)
    states = TextStates(encoder.model, 2**20).of(ids, mask)
    want = encoder.states(ids, mask) * mask.unsqueeze(-1)
    torch.testing.assert_close(states, want, rtol=1e-4, atol=1e-5)


def test_the_company_of_a_prompt_changes_no_bit(encoder: TextEncoder) -> None:
    ids, mask = encoder.tokenize(PROMPTS)
    together = TextStates(encoder.model, 0).of(ids, mask)
    for row in range(len(PROMPTS)):
        length = int(mask[row].sum())
        alone = TextStates(encoder.model, 0).of(ids[row : row + 1, :length], mask[row : row + 1, :length])
        assert torch.equal(alone[0], together[row, :length])


def test_what_fits_is_kept_and_what_was_asked_for_last_stays(encoder: TextEncoder) -> None:
    rows = [encoder.tokenize([prompt]) for prompt in PROMPTS]
    sizes = [TextStates(encoder.model, 0).of(*row).nbytes for row in rows]
    states = TextStates(encoder.model, sizes[0] + max(sizes[1:]))
    for row in (0, 1, 0, 0, 2, 0, 1):
        states.of(*rows[row])
        assert states._bytes <= states._capacity
    assert states.encoded == 4  # 0, 1, 2 in place of 1, and 1 once more


@pytest.mark.parametrize("kind", OWN)
def test_losses_are_the_same_kept_or_not_and_under_low_precision(kind: str, songs: Path) -> None:
    def losses(text_cache: int) -> tuple[list[Tensor], int]:
        task = task_of(kind, songs, tellings=1, text_cache=text_cache)
        found = []
        for index in (0, 1, 0, 1, 2, 3):
            torch.manual_seed(index)
            with torch.autocast("cpu", torch.bfloat16):
                found.append(task.loss(task.batch(index))["loss"])
        return found, task.networks.text_states.encoded

    (kept, few), (anew, many) = losses(16), losses(0)
    assert all(torch.equal(one, other) for one, other in zip(kept, anew, strict=True))
    assert few <= len(write_songs.__defaults__[0]) < many  # type: ignore[index]


def test_an_encoder_that_learns_is_asked_every_time(songs: Path) -> None:
    task = task_of("diffusion", songs, train_text_encoder=True)
    task.loss(task.batch(0))
    assert task.networks.text_states.encoded == 0


def test_a_song_is_told_in_so_many_ways(songs: Path) -> None:
    def prompts(**sections: object) -> set[bytes]:
        task = task_of("lora", songs, **sections)
        song = task._batches.batch(0)[0]
        found = set()
        for index in range(40):
            random = task._telling(song.song, np.random.default_rng(index))
            found.add(task.part(task.songs.songs[song.song], random).prompt.encode())
        return found

    assert len(prompts(tellings=1)) == 1
    assert len(prompts(tellings=2)) == 2
    assert len(prompts()) == 6  # all orders of three tags
