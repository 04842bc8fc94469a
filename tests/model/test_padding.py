from __future__ import annotations

import pytest
import torch

from acestep_flows.model.padding import Padding, joint_rows, real_rows, stack_rows

LATENTS = torch.zeros(3, 8, 16, 5)


def test_no_padding_where_all_frames_are_real() -> None:
    assert Padding.of(None, LATENTS, torch.float32, exact=True) is None
    assert Padding.of([5, 5, 5], LATENTS, torch.float32, exact=True) is None


def test_mask_is_one_on_real_frames() -> None:
    padding = Padding.of([5, 2, 1], LATENTS, torch.float32, exact=True)
    assert padding
    assert padding.mask.squeeze(-1).tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]


@pytest.mark.parametrize("frames", [[5, 5], [5, 6, 1], [0, 5, 5]])
def test_impossible_lengths_are_refused(frames: list[int]) -> None:
    with pytest.raises(ValueError, match="lengths"):
        Padding.of(frames, LATENTS, torch.float32, exact=True)


@pytest.mark.parametrize(("exact", "lengths"), [(True, [5, 2, 1]), (False, [5, 5, 5])])
def test_only_exact_padding_excludes_padded_frames_from_statistics(exact: bool, lengths: list[int]) -> None:
    padding = Padding.of([5, 2, 1], LATENTS, torch.float32, exact)
    assert [len(row) for row in joint_rows(torch.zeros(3, 5, 7), padding)] == lengths


@pytest.mark.parametrize("exact", [True, False])
def test_stacked_rows_are_zero_on_padded_frames(exact: bool) -> None:
    x = torch.randn(3, 5, 7)
    padding = Padding.of([5, 2, 1], LATENTS, torch.float32, exact)
    assert padding
    assert torch.equal(stack_rows(real_rows(x, padding), 5), x * padding.mask)
