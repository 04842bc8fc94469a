"""Every song once a round, songs of similar length together, any batch computed from its number alone."""

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
    songs = [10 * position for position in range(len(lengths))]
    batches = SongBatches(songs, lengths, seed, budget=budget, rows=rows, crop=crop)
    seen: Counter[int] = Counter()
    index = 0
    while sum(seen.values()) < 2 * len(songs):
        batch = batches.batch(index)
        width = max(cropped.frames for cropped in batch)
        assert len(batch) <= rows
        assert len(batch) == 1 or width * len(batch) <= budget
        for cropped in batch:
            full = lengths[cropped.song // 10]
            assert cropped.frames == min(full, crop or full)
            assert 0 <= cropped.start <= full - cropped.frames
        seen.update(cropped.song for cropped in batch)
        index += 1
    assert set(seen.values()) == {2}


def test_any_batch_is_computed_from_its_number_alone() -> None:
    lengths = np.random.default_rng(0).integers(5, 50, 40).tolist()
    ascending, descending = (SongBatches(range(40), lengths, 7, budget=100, rows=8, crop=20) for _ in range(2))
    expected = [ascending.batch(index) for index in range(30)]
    assert [descending.batch(index) for index in reversed(range(30))] == expected[::-1]
    assert SongBatches(range(40), lengths, 8, budget=100, rows=8, crop=20).batch(0) != expected[0]


def test_songs_of_a_batch_have_similar_lengths() -> None:
    lengths = [10] * 50 + [100] * 50
    batches = SongBatches(range(100), lengths, 0, budget=400, rows=8)
    for index in range(20):
        assert len({cropped.frames for cropped in batches.batch(index)}) == 1


def test_random_start_decides_where_crops_begin() -> None:
    fixed = SongBatches(range(8), [100] * 8, 0, budget=80, rows=8, crop=10, random_start=0.0)
    assert {cropped.start for index in range(4) for cropped in fixed.batch(index)} == {0}
    free = SongBatches(range(8), [100] * 8, 0, budget=80, rows=8, crop=10, random_start=1.0)
    assert len({cropped.start for index in range(4) for cropped in free.batch(index)}) > 8


def test_an_empty_set_of_songs_is_refused() -> None:
    with pytest.raises(InputError, match="no songs"):
        SongBatches([], [], 0, budget=1, rows=1)
