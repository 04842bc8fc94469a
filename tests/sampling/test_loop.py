from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from acestep_flows.errors import Cancelled, InputError
from acestep_flows.model.threads import Lanes
from acestep_flows.sampling.active_song import ActiveSong
from acestep_flows.sampling.loop import denoise_all
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.row_batching import RowBatcher
from acestep_flows.sampling.trajectory import Query, State
from tests.sampling.small_songs import ORDERS, Order, alone, assert_same, underway
from tests.sampling.toy import TASKS, finish, toy


def ignore(index: int, song: ActiveSong) -> None:
    pass


LANES = {count: Lanes(count) for count in (1, 2, 3)}


@given(
    orders=st.lists(ORDERS, min_size=1, max_size=5),
    padding=st.sampled_from((0, 20, 10_000)),
    lanes=st.sampled_from(tuple(LANES)),
)
@settings(max_examples=20, deadline=None)
def test_songs_together_are_as_alone(orders: list[Order], padding: int, lanes: int) -> None:
    begins = [partial(underway, order) for order in orders]
    batcher = RowBatcher(padding, lanes=LANES[lanes])
    ended = dict(denoise_all(begins, ignore, batcher, tokens=100, songs=3))
    assert sorted(ended) == list(range(len(orders)))
    for index, order in enumerate(orders):
        song = ended[index]
        assert isinstance(song, ActiveSong)
        assert_same(song.state, alone(order.song()))


def test_a_song_alone_has_the_same_bytes() -> None:
    ((_, song),) = denoise_all([partial(underway, Order())], ignore)
    assert isinstance(song, ActiveSong)
    assert song.state.save() == alone(Order().song()).save()


def test_what_cannot_begin_or_is_stopped_ends_alone() -> None:
    def on_step(index: int, song: ActiveSong) -> None:
        if (index, song.state.step) == (2, 2):
            raise InputError("enough")

    wrong = underway(Order(frames=9)).state
    begins = [partial(underway, Order()), partial(underway, Order(), wrong), partial(underway, Order(seed=9))]
    ended = dict(denoise_all(begins, on_step))
    assert isinstance(ended[0], ActiveSong)
    assert ended[0].done
    assert str(ended[1]).startswith("state: step 0 of a song of 9 frames")
    assert str(ended[2]) == "enough"


def test_a_song_that_is_done_needs_no_step() -> None:
    last = alone(Order().song())
    ((_, song),) = denoise_all([partial(underway, Order(), last)], ignore)
    assert isinstance(song, ActiveSong)
    assert song.state is last
    assert song.tokens == 0


@pytest.mark.parametrize(("tokens", "songs", "most"), [(1, 8, 1), (10_000, 2, 2), (10_000, 8, 4)])
def test_songs_begin_when_there_is_room(tokens: int, songs: int, most: int) -> None:
    begun, ended, together = 0, 0, []

    def begin(order: Order) -> ActiveSong:
        nonlocal begun
        begun += 1
        together.append(begun - ended)
        return underway(order)

    for _ in denoise_all([partial(begin, Order(seed=s)) for s in range(4)], ignore, tokens=tokens, songs=songs):
        ended += 1
    assert max(together) == most


def test_tells_of_every_step() -> None:
    trajectory = TASKS["text2music"](SamplerOptions(steps=5))
    steps: list[int] = []
    finish(trajectory, toy, lambda state: steps.append(state.step))
    assert steps == [1, 2, 3, 4, 5]


def test_stops_at_a_step_boundary_and_goes_on_from_there() -> None:
    trajectory = TASKS["text2music"](SamplerOptions(steps=5))
    kept: list[State] = []

    def stop(state: State) -> None:
        kept.append(state)
        if state.step == 3:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        finish(trajectory, toy, stop)
    assert finish(trajectory, toy, state=kept[-1]).save() == finish(trajectory, toy).save()


def test_state_stays_in_float32() -> None:
    def half(queries: Sequence[Query]) -> list[Tensor]:
        return [velocity.bfloat16() for velocity in toy(queries)]

    assert finish(TASKS["text2music"](SamplerOptions(steps=2)), half).latents.dtype == torch.float32


def test_a_finished_song_asks_nothing() -> None:
    trajectory = TASKS["text2music"](SamplerOptions(steps=1))
    last = finish(trajectory, toy)
    assert finish(trajectory, lambda queries: pytest.fail("asked"), state=last) is last
