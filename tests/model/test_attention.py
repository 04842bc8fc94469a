from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.model.attention import CrossAttention, SelfAttention
from acestep_flows.model.padding import Padding
from acestep_flows.model.rope import rotate, rotation

HEADS, HEAD_DIM = 2, 8
WIDTH = HEADS * HEAD_DIM


@settings(deadline=None)
@given(frames=st.integers(1, 20), seed=st.integers(0, 100))
@torch.inference_mode()
def test_linear_attention_is_a_weighted_mean_of_values(frames: int, seed: int) -> None:
    torch.manual_seed(seed)
    layer, x = SelfAttention(HEADS, HEAD_DIM), torch.randn(1, frames, WIDTH)
    table = rotation(frames, HEAD_DIM, 1e4, x.device)
    q, k = (rotate(project(x[0]).unflatten(-1, (HEADS, -1)), table).relu() for project in (layer.to_q, layer.to_k))
    weights = torch.einsum("thd,shd->hts", q, k)  # the quadratic form, which the layer avoids
    weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-15)
    mean = torch.einsum("hts,shd->thd", weights, layer.to_v(x[0]).unflatten(-1, (HEADS, -1)))
    torch.testing.assert_close(layer(x, table)[0], layer.to_out[0](mean.flatten(1)), atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_padded_frames_attend_to_no_frame() -> None:
    frames, table = 6, rotation(6, HEAD_DIM, 1e4, torch.device("cpu"))
    padding = Padding.of([6, 4], torch.zeros(2, 8, 16, frames), torch.float32, exact=False)
    x = torch.randn(2, frames, WIDTH)
    to_self, to_condition = SelfAttention(HEADS, HEAD_DIM), CrossAttention(HEADS, HEAD_DIM)
    keys_values = to_condition.keys_and_values(torch.randn(5, WIDTH), rotation(5, HEAD_DIM, 1e4, x.device))
    nothing = torch.zeros(2, WIDTH)
    torch.testing.assert_close(to_self(x, table, padding)[1, 4:], to_self.to_out[0](nothing))
    crossed = to_condition(x, table, [keys_values] * 2, [1.0, 1.0], padding)
    torch.testing.assert_close(crossed[1, 4:], to_condition.to_out[0](nothing))


@torch.inference_mode()
def test_erg_temperature_zero_gives_the_mean_of_all_values() -> None:
    layer, x = CrossAttention(HEADS, HEAD_DIM), torch.randn(1, 3, WIDTH)
    k, v = layer.keys_and_values(torch.randn(5, WIDTH), rotation(5, HEAD_DIM, 1e4, x.device))
    out = layer(x, rotation(3, HEAD_DIM, 1e4, x.device), [(k, v)], [0.0])
    mean = layer.to_out[0](v.mean(dim=1).flatten())
    torch.testing.assert_close(out[0], mean.expand(3, -1))
