"""The untrained checkpoint of nano: whole, small and seeded, with a vocabulary for its prompts."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from acestep_flows.model.checkpoint import PARTS, Checkpoint
from acestep_flows.model.placement import Placement
from acestep_flows.model.text_encoder import TextEncoder
from acestep_flows.training.nano.start import write_start
from acestep_flows.training.nano.words import ALIASES, prompt_words

MAX_PARAMETERS = 15_000_000


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("start")
    write_start(folder)
    return Checkpoint.open(folder)


def test_the_checkpoint_is_whole_and_small(start: Checkpoint) -> None:
    sizes = [math.prod(shape) for part in PARTS for shape in start.shapes(part).values()]
    assert sum(sizes) < MAX_PARAMETERS


def test_velocities_start_at_zero(start: Checkpoint) -> None:
    last = start.load("ace_step_transformer", prefix="final_layer.linear.")
    assert all(not tensor.any() for tensor in last.values())


def test_the_same_seed_gives_the_same_start(start: Checkpoint, tmp_path: Path) -> None:
    torch.manual_seed(77)  # the global generator has no effect
    write_start(tmp_path / "again")
    write_start(tmp_path / "other", seed=1)
    again, other = Checkpoint.open(tmp_path / "again"), Checkpoint.open(tmp_path / "other")
    assert [again.digest(part) for part in PARTS] == [start.digest(part) for part in PARTS]
    assert other.digest("music_dcae_f8c8") != start.digest("music_dcae_f8c8")


def test_known_tags_have_ids_and_others_the_unknown_id(start: Checkpoint) -> None:
    encoder = TextEncoder.load(start, Placement())
    (ids,), _ = encoder.tokenize(["hip hop, electric guitar, C# minor, 124 bpm, male vocal, zither"])
    unknown = 2
    assert (ids == unknown).tolist() == [False] * 10 + [True, False]


def test_embeddings_of_near_tempos_are_similar(start: Checkpoint) -> None:
    encoder = TextEncoder.load(start, Placement())
    rows = encoder.tokenize([" ".join(str(tempo) for tempo in range(60, 181)) + " house"])[0][0]
    words = start.load("umt5-base", prefix="shared.")["shared.weight"][rows].float()
    assert words.square().mean(dim=1).sqrt().tolist() == pytest.approx([1.0] * len(words), abs=0.35)
    similarity = torch.nn.functional.cosine_similarity(words[:, None], words[None], dim=-1)
    assert similarity.diagonal(1)[:119].min() > 0.9
    assert similarity.diagonal(3)[:117].mean() == pytest.approx(math.exp(-1 / 4), abs=0.1)
    assert similarity.diagonal(15)[:105].abs().mean() < 0.25
    assert similarity[-2, :-2].abs().mean() < 0.25, "a word that is no number"


def test_aliases_are_new_names_of_known_words() -> None:
    known = {word.lower() for word in prompt_words()}
    assert set(ALIASES.values()) <= known
    assert not set(ALIASES) & known
