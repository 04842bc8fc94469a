"""The denoiser: songs of unequal length in one batch, encoded conditions, ERG."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import pad

from acestep_flows.model.encoded_conditions import EncodedConditions
from acestep_flows.model.placement import Placement
from acestep_flows.model.transformer import Transformer
from tests.model.small import small_checkpoint


@cache
def transformer() -> Transformer:
    return Transformer.load(small_checkpoint(), Placement())


def song(frames: int, tokens: int, seed: int) -> tuple[Tensor, EncodedConditions, Tensor]:
    """Latents, encoded condition and control of a random song."""
    draw = torch.Generator().manual_seed(seed)
    width = transformer().config.width
    mask = torch.ones(tokens)
    mask[tokens // 2 : tokens // 2 + tokens // 4] = 0
    condition = transformer().encode_condition(torch.randn(tokens, width, generator=draw), mask)
    return torch.randn(8, 16, frames, generator=draw), condition, torch.randn(frames, width, generator=draw)


def batch(parts: list[Tensor], longest: int, junk: float = 0.0) -> Tensor:
    """Stack along a new first axis, with the last axis (time) padded by `junk`."""
    return torch.stack([pad(part, (0, longest - part.shape[-1]), value=junk) for part in parts])


@settings(max_examples=12, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 30)), min_size=2, max_size=4),
    controlled=st.booleans(),
    seed=st.integers(0, 1000),
)
@torch.inference_mode()
def test_songs_in_one_batch_equal_their_solo_results(
    lengths: list[tuple[int, int]], controlled: bool, seed: int
) -> None:
    songs = [song(frames, tokens, seed + index) for index, (frames, tokens) in enumerate(lengths)]
    longest = max(frames for frames, _ in lengths)
    timesteps = torch.linspace(990, 10, len(songs))
    erg_temperature = [1.0 if index % 2 else 0.01 for index in range(len(songs))]
    scale = torch.linspace(0.5, 1, len(songs))
    together = transformer()(
        batch([latents for latents, _, _ in songs], longest, junk=1e3),
        timesteps,
        [condition for _, condition, _ in songs],
        frames=[frames for frames, _ in lengths],
        erg_temperature=erg_temperature,
        control=batch([control.T for _, _, control in songs], longest, junk=1e3).mT if controlled else None,
        control_scale=scale,
    )
    for index, (latents, condition, control) in enumerate(songs):
        alone = transformer()(
            latents[None],
            timesteps[index : index + 1],
            [condition],
            erg_temperature=erg_temperature[index : index + 1],
            control=control[None] if controlled else None,
            control_scale=scale[index : index + 1],
        )[0]
        torch.testing.assert_close(together[index, ..., : latents.shape[-1]], alone, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_upstream_padding_changes_a_song() -> None:
    latents, condition, _ = song(9, 7, 0)
    padded, timestep = batch([latents], 12), torch.tensor([500.0])
    alone = transformer()(latents[None], timestep, [condition])
    exact, upstream = (
        transformer()(padded, timestep, [condition], frames=[9], exact=exact)[..., :9] for exact in (True, False)
    )
    torch.testing.assert_close(exact, alone, atol=1e-5, rtol=1e-5)
    assert (upstream - alone).abs().max() > 1e-3


@torch.inference_mode()
def test_masked_tokens_are_not_encoded() -> None:
    states = torch.randn(6, transformer().config.width)
    mask = torch.tensor([1.0, 1, 0, 1, 0, 0])
    changed = torch.where(mask.bool()[:, None], states, 100.0)
    first, second = (transformer().encode_condition(each, mask) for each in (states, changed))
    heads = transformer().config.num_attention_heads
    for (k, v), (same_k, same_v) in zip(first.blocks, second.blocks, strict=True):
        assert k.shape[:2] == v.shape[:2] == (heads, 3)
        assert torch.equal(k, same_k)
        assert torch.equal(v, same_v)
    assert first.nbytes == 2 * 4 * 3 * transformer().config.width * len(first.blocks)


@torch.inference_mode()
def test_erg_acts_only_in_its_blocks() -> None:
    latents, condition, _ = song(9, 7, 1)
    inputs = (latents[None], torch.tensor([500.0]), [condition])
    plain, rectified = transformer()(*inputs), transformer()(*inputs, erg_temperature=[0.01])
    assert torch.equal(plain, transformer()(*inputs, erg_temperature=[1.0]))
    assert (plain - rectified).abs().max() > 1e-4

    beyond = Transformer.load(small_checkpoint(), Placement())
    beyond.config = replace(beyond.config, erg_blocks=(50, 60))  # blocks beyond the last are ignored
    assert torch.equal(beyond(*inputs, erg_temperature=[0.01]), plain)


@torch.inference_mode()
def test_states_after_blocks_do_not_change_the_velocity() -> None:
    latents, condition, _ = song(9, 7, 2)
    inputs = (latents[None], torch.tensor([500.0]), [condition])
    velocity, states = transformer().forward_with_states(*inputs, (1, 1, 0))
    assert torch.equal(velocity, transformer()(*inputs))
    assert [state.shape for state in states] == [(1, 9, transformer().config.width)] * 3
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@torch.inference_mode()
def test_bfloat16_stays_near_float32() -> None:
    half = Transformer.load(small_checkpoint(), Placement(dtype="bfloat16"))
    latents, _, _ = song(30, 7, 3)
    states, mask = torch.randn(7, half.config.width), torch.ones(7)
    timestep = torch.tensor([321.5])
    exact, rounded = (
        model(latents[None], timestep, [model.encode_condition(states, mask)]) for model in (transformer(), half)
    )
    assert rounded.dtype == torch.float32
    assert (rounded - exact).norm() / exact.norm() < 0.05


def test_gradients_reach_every_parameter() -> None:
    model = Transformer(replace(transformer().config, num_layers=2))
    condition = model.encode_condition(torch.randn(5, model.config.width), torch.ones(5))
    control = torch.randn(2, 6, model.config.width, requires_grad=True)
    velocity = model(
        torch.randn(2, 8, 16, 6), torch.tensor([10.0, 700.0]), [condition, condition], frames=[6, 4], control=control
    )
    velocity[..., :4].square().sum().backward()
    assert control.grad is not None
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("rows", [1, 3])
def test_every_row_needs_a_condition(rows: int) -> None:
    latents, condition, _ = song(4, 3, 4)
    with pytest.raises(ValueError, match="zip"):
        transformer()(latents.expand(2, -1, -1, -1), torch.tensor([1.0, 2.0]), [condition] * rows)
