"""The training pass has the velocities and gradients of the serving pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.config import TransformerConfig
from acestep_flows.model.lyric_encoder import LyricEncoder
from acestep_flows.model.transformer import Transformer
from acestep_flows.training.kinds.training_forward import ConditionBatch, condition_batch, predict

CONFIG = TransformerConfig(
    num_layers=2,
    num_attention_heads=2,
    attention_head_dim=8,
    mlp_ratio=2.5,
    rope_theta=1e4,
    speaker_embedding_dim=4,
    text_embedding_dim=6,
    lyric_encoder_vocab_size=20,
    lyric_hidden_size=8,
    ssl_names=(),
    ssl_encoder_depths=(),
    ssl_latent_dims=(),
    lyric_encoder_attention_heads=2,
    lyric_encoder_linear_units=16,
    lyric_encoder_num_blocks=1,
)
TEXT, LYRICS = (3, 5), (4, 2)
"""Tokens of the two rows."""


@pytest.fixture
def transformer() -> Transformer:
    torch.manual_seed(0)
    return Transformer(CONFIG)


@pytest.fixture
def projector() -> ConditionProjector:
    torch.manual_seed(1)
    return ConditionProjector(CONFIG)


def padded(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    states = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.tensor([[float(position < len(row)) for position in range(states.shape[1])] for row in rows])
    return states, mask


def conditions(projector: ConditionProjector) -> tuple[ConditionBatch, list[tuple[Tensor, Tensor]]]:
    """The conditions of two rows as a batch, and each row's own conditions."""
    torch.manual_seed(2)
    text, lyrics = [torch.randn(n, 6) for n in TEXT], [torch.randn(n, 8) for n in LYRICS]
    batch = condition_batch(projector, *padded(text), *padded(lyrics))
    alone = [
        projector(row_text, torch.ones(len(row_text)), row_lyrics, torch.ones(len(row_lyrics)))
        for row_text, row_lyrics in zip(text, lyrics, strict=True)
    ]
    return batch, alone


@pytest.mark.parametrize("lengths", [None, (9, 6)])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("control", [False, True])
def test_values_and_gradients_equal_those_of_the_serving_pass(
    transformer: Transformer,
    projector: ConditionProjector,
    lengths: tuple[int, int] | None,
    checkpointing: bool,
    control: bool,
) -> None:
    batch, alone = conditions(projector)
    x, timesteps, tokens = torch.randn(2, 8, 16, 9), torch.tensor([300.0, 900.0]), torch.randn(2, 9, 16)
    if lengths:
        x[1, ..., lengths[1] :] = 0
    extra: dict[str, Any] = {"control": tokens, "control_scale": 0.5} if control else {}

    def served() -> Tensor:
        memories = [transformer.encode_condition(*row) for row in alone]
        velocity: Tensor = transformer(x, timesteps, memories, frames=lengths, **extra)
        return velocity

    def trained() -> Tensor:
        return predict(transformer, x, timesteps, batch, lengths=lengths, checkpointing=checkpointing, **extra)[0]

    def gradients(velocity: Tensor) -> list[Tensor]:
        frames = lengths or (9, 9)
        real = torch.stack([torch.arange(9) < count for count in frames])[:, None, None, :]
        loss = (velocity * real).square().mean() + (velocity * real).sum()
        inputs = [*transformer.parameters(), *projector.parameters()]
        return list(torch.autograd.grad(loss, inputs, retain_graph=True))

    expected, actual = served(), trained()
    for row, count in enumerate(lengths or (9, 9)):
        torch.testing.assert_close(actual[row, ..., :count], expected[row, ..., :count], rtol=1e-4, atol=1e-5)
    for gradient, reference in zip(gradients(actual), gradients(expected), strict=True):
        limit = 2e-4 * (1 + float(reference.abs().max()))
        torch.testing.assert_close(gradient, reference, rtol=1e-3, atol=limit)


def test_adapted_layers_are_used(transformer: Transformer, projector: ConditionProjector) -> None:
    from acestep_flows.model.adapter_file import LowRank
    from acestep_flows.model.adapters import Adapter

    names = [f"transformer_blocks.0.{part}.{name}" for part in ("attn", "cross_attn") for name in ("to_q", "to_v")]
    adapter = Adapter({name: LowRank(torch.randn(2, 16), torch.randn(16, 2)) for name in names})
    adapted = adapter.apply(transformer, 0.5)
    batch, alone = conditions(projector)
    x, timesteps = torch.randn(2, 8, 16, 7), torch.tensor([100.0, 500.0])
    expected = adapted(x, timesteps, [adapted.encode_condition(*row) for row in alone])
    torch.testing.assert_close(predict(adapted, x, timesteps, batch)[0], expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(predict(transformer, x, timesteps, batch)[0], expected, atol=1e-3)


def test_hidden_states_equal_those_of_the_serving_pass(transformer: Transformer, projector: ConditionProjector) -> None:
    batch, alone = conditions(projector)
    x, timesteps = torch.randn(2, 8, 16, 7), torch.tensor([100.0, 500.0])
    _, expected = transformer.forward_with_states(
        x, timesteps, [transformer.encode_condition(*row) for row in alone], (1,)
    )
    _, actual = predict(transformer, x, timesteps, batch, depths=(1,))
    torch.testing.assert_close(actual[1], expected[0], rtol=1e-4, atol=1e-5)


def test_bfloat16_is_close_to_float32(transformer: Transformer, projector: ConditionProjector) -> None:
    batch, _ = conditions(projector)
    x, timesteps = torch.randn(2, 8, 16, 7), torch.tensor([100.0, 500.0])
    expected = predict(transformer, x, timesteps, batch)[0]
    with torch.autocast("cpu", torch.bfloat16):
        actual = predict(transformer, x, timesteps, batch)[0]
        actual.square().mean().backward()
    assert actual.dtype == torch.float32
    assert (actual - expected).abs().max() < 0.05 * expected.abs().max() + 0.05
    assert all(torch.isfinite(p.grad).all() for p in transformer.parameters() if p.grad is not None)


def test_masked_lyrics_are_masked_in_the_condition(projector: ConditionProjector) -> None:
    encoder = LyricEncoder(CONFIG).eval()
    ids, mask = torch.tensor([[1, 2, 3]]), torch.zeros(1, 3)
    batch = condition_batch(projector, torch.randn(1, 2, 6), torch.ones(1, 2), encoder(ids, mask), mask)
    assert batch.mask.tolist() == [[True, True, True, False, False, False]]
