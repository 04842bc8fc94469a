from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from acestep_flows.errors import InputError
from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.config import TransformerConfig
from acestep_flows.model.transformer import Transformer
from acestep_flows.sampling.branches import Branch
from acestep_flows.sampling.denoiser import DenoiserRow, TransformerDenoiser, encode_conditions, predict_velocities
from acestep_flows.sampling.loop import denoise
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.trajectory import BranchName, Query
from tests.sampling.toy import FRAMES, TASKS, noise_of

CONFIG = TransformerConfig.from_json(
    {
        "num_layers": 2,
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "text_embedding_dim": 6,
        "lyric_hidden_size": 4,
        "speaker_embedding_dim": 512,
        "mlp_ratio": 2.0,
        "rope_theta": 1e4,
        "lyric_encoder_vocab_size": 10,
        "lyric_encoder_attention_heads": 2,
        "ssl_names": [],
        "ssl_encoder_depths": [],
        "ssl_latent_dims": [],
        "erg_blocks": [1, 1],
    }
)


@pytest.fixture(scope="module")
def network() -> tuple[Transformer, ConditionProjector]:
    torch.manual_seed(0)
    return Transformer(CONFIG).eval().requires_grad_(False), ConditionProjector(CONFIG).eval().requires_grad_(False)


def branch_of(seed: int, length: int) -> Branch:
    generator = torch.Generator().manual_seed(seed)
    text, lyrics = (torch.randn(length, width, generator=generator) for width in (6, 4))
    return Branch(text, torch.ones(length), lyrics, torch.ones(length))


@pytest.fixture(scope="module")
def rows(network: tuple[Transformer, ConditionProjector]) -> list[DenoiserRow]:
    """Songs of unequal length, noise, conditions and control."""
    memories = encode_conditions(*network, {"conditional": branch_of(1, 3), "null": branch_of(2, 9)})
    queries = [
        Query(noise_of(1, 5), 900.0, "conditional"),
        Query(noise_of(2, 12), 20.0, "null", 0.01),
        Query(noise_of(3, 8), 500.0, "conditional"),
    ]
    control = torch.randn(8, CONFIG.width, generator=torch.Generator().manual_seed(4))
    controls = [None, None, control]
    return [
        DenoiserRow(query, memories[query.branch], control, 0.5)
        for query, control in zip(queries, controls, strict=True)
    ]


def test_neighbours_change_nothing(network: tuple[Transformer, ConditionProjector], rows: list[DenoiserRow]) -> None:
    together = predict_velocities(network[0], rows)
    for row, velocity in zip(rows, together, strict=True):
        (alone,) = predict_velocities(network[0], [row])
        assert velocity.shape == row.query.latents.shape
        torch.testing.assert_close(velocity, alone, atol=1e-5, rtol=0)


def test_weakening_acts_on_its_own_row(
    network: tuple[Transformer, ConditionProjector], rows: list[DenoiserRow]
) -> None:
    plain = [replace(row, query=replace(row.query, erg_temperature=1.0)) for row in rows]
    changed = [
        not torch.equal(a, b)
        for a, b in zip(predict_velocities(network[0], rows), predict_velocities(network[0], plain), strict=True)
    ]
    assert changed == [row.query.erg_temperature != 1.0 for row in rows] == [False, True, False]


def test_control_acts_on_its_own_row(network: tuple[Transformer, ConditionProjector], rows: list[DenoiserRow]) -> None:
    plain = [DenoiserRow(row.query, row.memory) for row in rows]
    changed = [
        not torch.allclose(a, b, atol=1e-4)
        for a, b in zip(predict_velocities(network[0], rows), predict_velocities(network[0], plain), strict=True)
    ]
    assert changed == [False, False, True]


def test_control_of_another_length(rows: list[DenoiserRow]) -> None:
    with pytest.raises(InputError, match="control"):
        DenoiserRow(rows[0].query, rows[0].memory, torch.zeros(4, CONFIG.width))


@pytest.mark.parametrize("task", TASKS)
def test_every_task_runs(network: tuple[Transformer, ConditionProjector], task: str) -> None:
    names: tuple[BranchName, ...] = ("conditional", "null", "source", "source_null", "target", "target_null")
    memories = encode_conditions(*network, {name: branch_of(seed, 3 + seed) for seed, name in enumerate(names)})
    trajectory = TASKS[task](SamplerOptions(steps=3, guidance_interval=1.0))
    latents = denoise(trajectory, TransformerDenoiser(network[0], memories)).latents
    assert latents.shape[-1] == trajectory.frames >= FRAMES
    assert latents.isfinite().all()
