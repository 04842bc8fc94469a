"""Folded convolutions equal the library's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from acestep_flows.model.folding import FoldedConv, FoldedUpsample, fold_for

FOLDS = st.sampled_from([1, 2, 3, 4, 8, 16])


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@given(
    fold=FOLDS,
    dilation=st.integers(1, 5),
    reach=st.integers(0, 6),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 3),
    blocks=st.integers(1, 6),
)
def test_a_folded_convolution_equals_the_convolution(
    fold: int, dilation: int, reach: int, inputs: int, outputs: int, blocks: int
) -> None:
    weight, bias, x = normal(outputs, inputs, 2 * reach + 1), normal(outputs), normal(2, blocks * fold, inputs)
    expected = F.conv1d(x.transpose(1, 2), weight, bias, padding=reach * dilation, dilation=dilation).transpose(1, 2)
    torch.testing.assert_close(FoldedConv(weight, bias, dilation=dilation, fold=fold)(x), expected)


@given(
    fold=FOLDS,
    rate=st.integers(1, 8),
    trim=st.integers(0, 4),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 3),
    blocks=st.integers(1, 6),
)
def test_a_folded_upsampling_equals_the_transposed_convolution(
    fold: int, rate: int, trim: int, inputs: int, outputs: int, blocks: int
) -> None:
    weight, bias, x = normal(inputs, outputs, rate + 2 * trim), normal(outputs), normal(2, blocks * fold, inputs)
    expected = F.conv_transpose1d(x.transpose(1, 2), weight, bias, rate, padding=trim).transpose(1, 2)
    torch.testing.assert_close(FoldedUpsample(weight, bias, rate=rate, fold=fold)(x), expected)


@pytest.mark.parametrize(
    ("channels", "samples", "fold"),
    [(64, 4, 1), (16, 64, 1), (8, 64, 2), (1, 512, 16), (1, 8, 8), (4, 1, 1), (3, 512, 8)],
)
def test_the_fold_fills_a_vector_and_divides_the_samples(channels: int, samples: int, fold: int) -> None:
    assert fold_for(channels, samples) == fold
