"""A song that shares passes with others on a processor is the song that it is alone, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import pytest
import torch

from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.fastest_products import packed_or_none, use_fastest_products
from acestep_flows.model.placement import Placement, Products
from acestep_flows.model.threads import Lanes, limit_threads
from acestep_flows.model.transformer import Transformer
from acestep_flows.sampling.active_song import ActiveSong
from acestep_flows.sampling.denoiser import TransformerDenoiser, encode_conditions
from acestep_flows.sampling.row_batching import RowBatcher
from tests.sampling.small_songs import BRANCHES, Order
from tests.sampling.test_denoiser import CONFIG, branch_of

STEPS = 3
PLAIN = Order(frames=54, options={"steps": STEPS, "guidance_scale": 1.0})
"""One row a step; by default a song has two. With guidance by text and lyrics it has three, and an edit four."""

GUIDED = Order(frames=86, options={"steps": STEPS, "guidance_scale": 3.0})
BY_TWO = Order(
    frames=108, options={"steps": STEPS, "guidance_scale": 3.0, "guidance_scale_text": 4.0, "guidance_scale_lyric": 2.0}
)
EDIT = Order(task="edit", frames=64, options={"steps": STEPS})


@lru_cache
def wide(products: Products) -> tuple[Transformer, ConditionProjector]:
    """Networks of the width of acestep-nano. Products of very small matrices are the same in any order."""
    torch.manual_seed(0)
    config = replace(CONFIG, num_attention_heads=8, attention_head_dim=32)
    transformer = Transformer(config).eval().requires_grad_(False)
    use_fastest_products(transformer.blocks, Placement(products=products))
    return transformer, ConditionProjector(config).eval().requires_grad_(False)


def song(order: Order, seed: int, products: Products) -> ActiveSong:
    transformer, projector = wide(products)
    branches = {name: branch_of(seed + index, 3 + index) for index, name in enumerate(BRANCHES)}
    denoiser = TransformerDenoiser(transformer, encode_conditions(transformer, projector, branches))
    return ActiveSong.begin(order.trajectory(), denoiser)


def made(songs: Sequence[ActiveSong], batcher: RowBatcher) -> list[torch.Tensor]:
    """The latents of songs that are made together, after all of their steps."""
    while under_way := [song for song in songs if not song.done]:
        moved = dict(zip(under_way, batcher.step(under_way), strict=True))
        assert not [error for error in moved.values() if isinstance(error, Exception)]
        songs = [moved.get(song, song) for song in songs]  # type: ignore[misc]
    return [song.state.latents for song in songs]


@pytest.fixture(params=[1, 2, 3])
def batcher(request: pytest.FixtureRequest) -> Iterator[RowBatcher]:
    """With so many lanes of one thread each."""
    before = torch.get_num_threads()
    limit_threads(torch, 1)
    lanes = Lanes(request.param)
    yield RowBatcher(padding=1000, lanes=lanes)
    lanes.close()
    limit_threads(torch, before)


@pytest.mark.parametrize("products", ["torch", "onednn"])
@pytest.mark.parametrize(
    "orders",
    [[GUIDED, GUIDED], [PLAIN, GUIDED, BY_TWO, EDIT], [PLAIN, PLAIN, PLAIN, PLAIN, PLAIN], [BY_TWO, GUIDED] * 3],
    ids=["two", "of all kinds", "of one row", "many"],
)
def test_company_changes_no_bit(batcher: RowBatcher, orders: list[Order], products: Products) -> None:
    if products == "onednn" and packed_or_none(torch.zeros(16, 16), None) is None:
        pytest.skip("this torch or this processor has no packed products")
    songs = [song(order, seed, products) for seed, order in enumerate(orders)]
    alone = [latents for one in songs for latents in made([one], batcher)]
    together = made(songs, batcher)
    assert [float((one - other).abs().max()) for one, other in zip(alone, together, strict=True)] == [0.0] * len(songs)
