from __future__ import annotations

from functools import cache

import pytest
import torch

from acestep_flows.model import lyric_encoder
from acestep_flows.model.lyric_encoder import LyricEncoder, _by_key, distance_table
from acestep_flows.model.placement import Placement
from tests.model.small import small_checkpoint


@cache
def encoder() -> LyricEncoder:
    return LyricEncoder.load(small_checkpoint(), Placement())


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (2, 2), (7, 7), (1, 7), (3, 7)])
def test_scores_by_distance_are_reordered_by_key(rows: int, length: int) -> None:
    scores = torch.randn(2, 3, rows, length + rows - 1)
    by_key = _by_key(scores, length)
    assert by_key.shape == (2, 3, rows, length)
    for query in range(rows):
        for key in range(length):
            assert torch.equal(by_key[..., query, key], scores[..., query, rows - 1 - query + key])


@pytest.mark.parametrize("rows", [1, 4, 9])
def test_the_result_does_not_depend_on_the_queries_per_block(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, mask = torch.randint(1, 50, (2, 9)), torch.tensor([[1] * 9, [1] * 5 + [0] * 4])
    model, results = LyricEncoder(encoder().config).eval(), []
    for queries in (256, rows):
        monkeypatch.setattr(lyric_encoder, "ROWS", queries)
        states = model(ids, mask)
        (gradient,) = torch.autograd.grad(states[0].square().sum(), [model.lyric_embs.weight])
        results.append((states, gradient))
    torch.testing.assert_close(results[0], results[1], atol=1e-5, rtol=1e-5)


def test_distances_run_from_the_largest_to_the_smallest() -> None:
    table = distance_table(4, 6, torch.device("cpu"))
    assert table.shape == (7, 6)
    torch.testing.assert_close(table[:, 0], torch.arange(3.0, -4, -1).sin())
    torch.testing.assert_close(table[:, 1], torch.arange(3.0, -4, -1).cos())


@torch.inference_mode()
def test_padded_lyrics_equal_their_solo_result() -> None:
    ids = torch.randint(1, 50, (2, 9))
    mask = torch.tensor([[1] * 9, [1] * 5 + [0] * 4])
    together = encoder()(ids, mask)
    alone = encoder()(ids[1:, :5], mask[1:, :5])
    torch.testing.assert_close(together[1, :5], alone[0], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_fully_masked_lyrics_give_finite_states() -> None:
    states = encoder()(torch.zeros(1, 3, dtype=torch.long), torch.zeros(1, 3))
    assert states.isfinite().all()


@torch.inference_mode()
def test_erg_leaves_the_encoder_unchanged() -> None:
    ids, mask = torch.randint(1, 50, (1, 9)), torch.ones(1, 9)
    before = encoder()(ids, mask)
    assert not torch.allclose(encoder()(ids, mask, erg_temperature=0.01), before)
    assert torch.equal(encoder()(ids, mask), before)


def test_dropout_acts_only_in_training() -> None:
    model = LyricEncoder(encoder().config)
    ids, mask = torch.randint(1, 50, (1, 9)), torch.ones(1, 9)
    assert not torch.equal(model.train()(ids, mask), model(ids, mask))
    assert torch.equal(model.eval()(ids, mask), model(ids, mask))
