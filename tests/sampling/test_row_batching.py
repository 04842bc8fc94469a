"""Who shares a forward pass, in how many lanes, and whom a broken one harms."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import partial

import pytest
import torch
from torch import Tensor

from acestep_flows.model.threads import Lanes, limit_threads
from acestep_flows.model.transformer import Transformer
from acestep_flows.sampling.active_song import ActiveSong
from acestep_flows.sampling.denoiser import DenoiserRow, predict_velocities
from acestep_flows.sampling.row_batching import RowBatcher
from tests.sampling.small_songs import Order, assert_same, underway


@pytest.fixture
def two() -> Iterator[Lanes]:
    lanes = Lanes(2)
    yield lanes
    lanes.close()


def lengths(forwards: RowBatcher, songs: Sequence[ActiveSong]) -> list[list[int]]:
    """The frames of every row, by pass."""
    passes = forwards.passes(songs, forwards.lanes.count)
    return [[song.rows[index].query.frames for song, index in places] for places in passes]


def test_a_pass_holds_rows_of_one_network_and_of_similar_length() -> None:
    songs = [underway(Order(frames=frames, adapter=frames == 11)) for frames in (10, 40, 9, 42, 11)]
    assert lengths(RowBatcher(0), songs) == [[42, 42], [40, 40], [10, 10], [9, 9], [11, 11]]
    assert lengths(RowBatcher(4), songs) == [[42, 42, 40, 40], [10, 10, 9, 9], [11, 11]]
    assert lengths(RowBatcher(1000), songs) == [[42, 42, 40, 40, 10, 10, 9, 9], [11, 11]]
    for places in RowBatcher(1000).passes(songs, 1):
        assert len({id(song.denoiser.network) for song, _ in places}) == 1


def test_every_lane_gets_its_share(two: Lanes) -> None:
    songs = [underway(Order(seed=seed)) for seed in range(5)]
    forwards = RowBatcher(lanes=two)
    assert lengths(forwards, songs) == [[8] * 5] * 2
    assert lengths(forwards, songs[:1]) == [[8], [8]]
    for song, outcome in zip(songs, forwards.step(songs), strict=True):
        (apart,) = RowBatcher().step([song])
        assert isinstance(outcome, ActiveSong)
        assert isinstance(apart, ActiveSong)
        assert_same(outcome.state, apart.state)


def test_the_branches_of_one_song_go_side_by_side(two: Lanes) -> None:
    """Each waits for the other to have begun: one after the other, they would wait for ever."""
    met = threading.Barrier(2)

    def ask(transformer: Transformer, rows: Sequence[DenoiserRow]) -> list[Tensor]:
        met.wait(20)
        return predict_velocities(transformer, rows)

    (moved,) = RowBatcher(ask=ask, lanes=two).step([underway(Order())])
    assert isinstance(moved, ActiveSong)
    assert moved.state.step == 1


@pytest.mark.parametrize(
    ("frames", "side_by_side"),
    [((8,), True), ((8, 8, 8), True), ((320, 107, 50), True), ((320, 20), False), ((320, 300), True)],
)
def test_a_long_row_is_not_left_to_one_core(two: Lanes, frames: tuple[int, ...], side_by_side: bool) -> None:
    """Songs without guidance have a single row: of two unequal ones, a lane would be done early."""
    guided = len(frames) != 2
    names = set()

    def ask(transformer: Transformer, rows: Sequence[DenoiserRow]) -> list[Tensor]:
        names.add(threading.current_thread().name)
        return [torch.zeros_like(row.query.latents) for row in rows]

    options = {"steps": 3} if guided else {"steps": 3, "guidance_scale": 1.0}
    RowBatcher(ask=ask, lanes=two).step([underway(Order(frames=count, options=options)) for count in frames])
    assert (threading.current_thread().name not in names) is side_by_side


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_processor_has_as_many_lanes_as_threads(device: str) -> None:
    before = torch.get_num_threads()
    try:
        limit_threads(torch, 3)
        assert RowBatcher.on(device).lanes.count == (3 if device == "cpu" else 1)
    finally:
        limit_threads(torch, before)


def broken_for(seed: int, transformer: Transformer, rows: Sequence[DenoiserRow]) -> list[Tensor]:
    """Runs out of memory whenever the song of `seed` takes part."""
    if any(torch.equal(row.query.latents, Order(seed=seed).trajectory().start().latents) for row in rows):
        raise torch.OutOfMemoryError("too much")
    return predict_velocities(transformer, rows)


@pytest.mark.parametrize("lanes", [1, 2])
def test_one_broken_song_harms_no_other(lanes: int) -> None:
    broken: list[int] = []
    forwards = RowBatcher(
        ask=partial(broken_for, 7),
        lanes=Lanes(lanes),
        on_broken=lambda songs, error: broken.append(len(songs)),
    )
    songs = [underway(Order(seed=seed)) for seed in (6, 7, 8)]
    first, failed, last = forwards.step(songs)
    forwards.lanes.close()
    assert isinstance(failed, torch.OutOfMemoryError)
    assert broken == ([3] if lanes == 1 else [2, 2])
    for song, outcome in ((songs[0], first), (songs[2], last)):
        (apart,) = RowBatcher().step([song])
        assert isinstance(outcome, ActiveSong)
        assert isinstance(apart, ActiveSong)
        assert_same(outcome.state, apart.state)
