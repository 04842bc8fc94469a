"""Less room after memory ran out, and slowly more again."""

from __future__ import annotations

from acestep_flows.runtime.room import PATIENCE, Room


def turns_until(room: Room, tokens: int, most: int = 10**6) -> int:
    for turn in range(most):
        if room.tokens >= tokens:
            return turn
        room.held()
    raise AssertionError(room.tokens)


def test_room_that_ran_out_comes_back_slowly_and_no_further_than_it_was() -> None:
    room = Room(1000, turns=10)
    room.held()
    room.ran_out(800)
    assert room.tokens == 400
    for _ in range(9):
        room.held()
    assert room.tokens == 400
    room.held()
    assert room.tokens == 500
    turns_until(room, 1000)
    for _ in range(100):
        room.held()
    assert room.tokens == 1000


def test_where_it_runs_out_again_and_again_it_takes_longer_each_time_within_bounds() -> None:
    room, taken = Room(1000, turns=10), list[int]()
    for _ in range(9):
        room.ran_out(800)
        taken.append(turns_until(room, 401))
    assert taken[:4] == [10, 20, 40, 80]
    assert taken[-1] == 10 * PATIENCE
    turns_until(room, 1000)
    room.held()
    room.ran_out(800)
    assert turns_until(room, 401) == 10


def test_there_is_always_room_for_something() -> None:
    room = Room(64)
    for _ in range(9):
        room.ran_out(room.tokens)
    assert room.tokens == 1
