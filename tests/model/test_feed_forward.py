from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from acestep_flows.model.feed_forward import FeedForward


@pytest.mark.parametrize("frames", [1, 2, 11])
def test_it_equals_the_library_convolutions(frames: int) -> None:
    layer = FeedForward(6, 10)
    x = torch.randn(2, frames, 6)
    expanded = layer.depth_conv.conv(F.silu(layer.inverted_conv.conv(x.mT)))
    value, gate = expanded.chunk(2, dim=1)
    expected = layer.point_conv.conv(value * F.silu(gate)).mT
    torch.testing.assert_close(layer(x), expected, atol=1e-6, rtol=1e-5)
