from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from acestep_flows.errors import InputError
from acestep_flows.model.transformer import Transformer
from acestep_flows.sampling.denoiser import Row, answer
from acestep_flows.sampling.together import Forwards, Underway, drive_all
from acestep_flows.sampling.trajectory import State
from tests.sampling.small_songs import ORDERS, Order, alone, assert_same


def underway(order: Order, state: State | None = None) -> Underway:
    song = order.song()
    return Underway.begin(song.trajectory, song.denoise, state)


def ignore(index: int, song: Underway) -> None:
    pass


@given(orders=st.lists(ORDERS, min_size=1, max_size=5), padding=st.sampled_from((0, 20, 10_000)))
@settings(max_examples=15, deadline=None)
def test_songs_together_are_as_alone(orders: list[Order], padding: int) -> None:
    begins = [partial(underway, order) for order in orders]
    ended = dict(drive_all(begins, ignore, Forwards(padding), tokens=100, songs=3))
    assert sorted(ended) == list(range(len(orders)))
    for index, order in enumerate(orders):
        song = ended[index]
        assert isinstance(song, Underway)
        assert_same(song.state, alone(order.song()))


def test_a_song_alone_has_the_same_bytes() -> None:
    ((_, song),) = drive_all([partial(underway, Order())], ignore)
    assert isinstance(song, Underway)
    assert song.state.save() == alone(Order().song()).save()


def test_a_pass_holds_songs_of_one_network_and_of_similar_length() -> None:
    lengths = [10, 40, 9, 42, 11]
    songs = [underway(Order(frames=frames, adapter=frames == 11)) for frames in lengths]

    def frames(padding: int) -> list[list[int]]:
        return [[song.frames for song in group] for group in Forwards(padding).grouped(songs)]

    assert frames(0) == [[42], [40], [10], [9], [11]]
    assert frames(4) == [[42, 40], [10, 9], [11]]
    assert frames(1000) == [[42, 40, 10, 9], [11]]
    for group in Forwards(1000).grouped(songs):
        assert len({id(song.denoiser.transformer) for song in group}) == 1


def test_every_lane_gets_its_share() -> None:
    songs = [underway(Order(seed=seed)) for seed in range(5)]
    with ThreadPoolExecutor(2) as threads:
        forwards = Forwards(lanes=2, threads=threads)
        assert [len(group) for group in forwards.grouped(songs)] == [3, 2]
        assert [len(group) for group in forwards.grouped(songs[:1])] == [1]
        for song, outcome in zip(songs, forwards.step(songs), strict=True):
            assert isinstance(outcome, Underway)
            (apart,) = Forwards().step([song])
            assert isinstance(apart, Underway)
            assert_same(outcome.state, apart.state)


def broken_for(seed: int, transformer: Transformer, rows: Sequence[Row]) -> list[Tensor]:
    """Runs out of memory whenever the song of `seed` takes part."""
    if any(torch.equal(row.call.latents, Order(seed=seed).trajectory().start().latents) for row in rows):
        raise torch.OutOfMemoryError("too much")
    return answer(transformer, rows)


def test_one_broken_song_harms_no_other() -> None:
    broken: list[int] = []
    forwards = Forwards(
        ask=partial(broken_for, 7),
        on_broken=lambda songs, error: broken.append(len(songs)),
    )
    ended = dict(drive_all([partial(underway, Order(seed=seed)) for seed in (6, 7, 8)], ignore, forwards))
    assert isinstance(ended[1], torch.OutOfMemoryError)
    assert broken == [3]
    for index, seed in ((0, 6), (2, 8)):
        song = ended[index]
        assert isinstance(song, Underway)
        assert_same(song.state, alone(Order(seed=seed).song()))


def test_what_cannot_begin_or_is_stopped_ends_alone() -> None:
    def on_step(index: int, song: Underway) -> None:
        if (index, song.state.step) == (2, 2):
            raise InputError("enough")

    wrong = underway(Order(frames=9)).state
    begins = [partial(underway, Order()), partial(underway, Order(), wrong), partial(underway, Order(seed=9))]
    ended = dict(drive_all(begins, on_step))
    assert isinstance(ended[0], Underway)
    assert ended[0].done
    assert str(ended[1]).startswith("state: step 0 of a song of 9 frames")
    assert str(ended[2]) == "enough"


def test_a_song_that_is_done_needs_no_step() -> None:
    last = alone(Order().song())
    ((_, song),) = drive_all([partial(underway, Order(), last)], ignore)
    assert isinstance(song, Underway)
    assert song.state is last
    assert song.tokens == 0


@pytest.mark.parametrize(("tokens", "songs", "most"), [(1, 8, 1), (10_000, 2, 2), (10_000, 8, 4)])
def test_songs_begin_when_there_is_room(tokens: int, songs: int, most: int) -> None:
    begun, ended, together = 0, 0, []

    def begin(order: Order) -> Underway:
        nonlocal begun
        begun += 1
        together.append(begun - ended)
        return underway(order)

    for _ in drive_all([partial(begin, Order(seed=s)) for s in range(4)], ignore, tokens=tokens, songs=songs):
        ended += 1
    assert max(together) == most
