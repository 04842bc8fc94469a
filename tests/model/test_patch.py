from __future__ import annotations

import torch

from acestep_flows.model.patch import FinalLayer, PatchEmbedding, modulate


def test_the_linear_form_equals_the_convolutions() -> None:
    embedding = PatchEmbedding(24)
    latents = torch.randn(2, 8, 16, 9)
    expected = embedding.early_conv_layers(latents).flatten(2).mT
    torch.testing.assert_close(embedding(latents), expected, atol=1e-5, rtol=1e-5)


def test_channels_are_the_fast_index_of_the_final_layer() -> None:
    layer = FinalLayer(24)
    torch.nn.init.zeros_(layer.linear.weight)
    layer.linear.bias = torch.nn.Parameter(torch.arange(128.0))
    out = layer(torch.randn(2, 5, 24), torch.randn(2, 24))
    assert out.shape == (2, 8, 16, 5)
    assert out[1, 3, 7, 2] == 7 * 8 + 3


def test_modulation_normalises_by_the_root_mean_square() -> None:
    x = 5 * torch.randn(2, 3, 16)
    shift, scale = torch.randn(2, 1, 16), torch.randn(2, 1, 16)
    expected = x / (x.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt() * (1 + scale) + shift
    torch.testing.assert_close(modulate(x, shift, scale), expected)
