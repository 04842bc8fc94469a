"""Every song once a round, songs of like length together, any batch found from its number alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.errors import InputError
from acestep_flows.training.data.batches import SongBatches


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=60),
    budget=st.integers(1, 1000),
    rows=st.integers(1, 16),
    crop=st.none() | st.integers(1, 200),
    seed=st.integers(0, 2**32),
)
def test_rounds_are_whole_and_batches_within_budget(
    lengths: list[int], budget: int, rows: int, crop: int | None, seed: int
) -> None:
    songs = [10 * place for place in range(len(lengths))]
    batches = SongBatches(songs, lengths, seed, budget=budget, rows=rows, crop=crop)
    seen: Counter[int] = Counter()
    index = 0
    while sum(seen.values()) < 2 * len(songs):
        batch = batches.batch(index)
        width = max(one.frames for one in batch)
        assert len(batch) <= rows
        assert len(batch) == 1 or width * len(batch) <= budget
        for one in batch:
            full = lengths[one.song // 10]
            assert one.frames == min(full, crop or full)
            assert 0 <= one.start <= full - one.frames
        seen.update(one.song for one in batch)
        index += 1
    assert set(seen.values()) == {2}


def test_any_batch_follows_from_its_number() -> None:
    lengths = np.random.default_rng(0).integers(5, 50, 40).tolist()
    straight, jumping = (SongBatches(range(40), lengths, 7, budget=100, rows=8, crop=20) for _ in range(2))
    wanted = [straight.batch(index) for index in range(30)]
    assert [jumping.batch(index) for index in reversed(range(30))] == wanted[::-1]
    assert SongBatches(range(40), lengths, 8, budget=100, rows=8, crop=20).batch(0) != wanted[0]


def test_songs_of_a_batch_are_of_like_length() -> None:
    lengths = [10] * 50 + [100] * 50
    batches = SongBatches(range(100), lengths, 0, budget=400, rows=8)
    for index in range(20):
        assert len({one.frames for one in batches.batch(index)}) == 1


def test_starts_are_where_they_are_to_be() -> None:
    fixed = SongBatches(range(8), [100] * 8, 0, budget=80, rows=8, crop=10, random_start=0.0)
    assert {one.start for index in range(4) for one in fixed.batch(index)} == {0}
    free = SongBatches(range(8), [100] * 8, 0, budget=80, rows=8, crop=10, random_start=1.0)
    assert len({one.start for index in range(4) for one in free.batch(index)}) > 8


def test_no_songs_are_refused() -> None:
    with pytest.raises(InputError, match="no songs"):
        SongBatches([], [], 0, budget=1, rows=1)
