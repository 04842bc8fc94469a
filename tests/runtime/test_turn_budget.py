from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.runtime.turn_budget import PATIENCE, DeficitRoundRobin, TokenBudget

COSTS = st.lists(st.integers(1, 500), min_size=1, max_size=12).map(lambda costs: dict(enumerate(costs)))


@given(costs=COSTS, budget=st.integers(1, 2000))
def test_turns_are_full_but_not_too_full(costs: dict[int, int], budget: int) -> None:
    fairness: DeficitRoundRobin[int] = DeficitRoundRobin(budget)
    for _ in range(20):
        picked = fairness.pick(costs)
        assert picked
        assert len(set(picked)) == len(picked)
        spent = sum(costs[key] for key in picked)
        assert spent <= budget or len(picked) == 1
        assert all(costs[key] > budget - spent for key in costs.keys() - set(picked))


@given(costs=st.lists(st.integers(1, 500), min_size=2, max_size=8).map(lambda costs: dict(enumerate(costs))))
def test_songs_that_go_one_at_a_time_get_equal_shares(costs: dict[int, int]) -> None:
    fairness: DeficitRoundRobin[int] = DeficitRoundRobin(1)
    tokens: Counter[int] = Counter(dict.fromkeys(costs, 0))
    for _ in range(200):
        for key in fairness.pick(costs):
            tokens[key] += costs[key]
        assert max(tokens.values()) - min(tokens.values()) <= 2 * max(costs.values())


@given(costs=COSTS, budget=st.integers(1, 2000))
def test_nobody_starves(costs: dict[int, int], budget: int) -> None:
    """Between two steps, others get about as many tokens each as the step costs."""
    fairness: DeficitRoundRobin[int] = DeficitRoundRobin(budget)
    tokens: Counter[int] = Counter()
    since = dict.fromkeys(costs, 0)
    for _ in range(300):
        for key in fairness.pick(costs):
            tokens[key] += costs[key]
            since[key] = tokens.total()
        for key, cost in costs.items():
            assert tokens.total() - since[key] <= len(costs) * (cost + 2 * max(costs.values())) + budget


def test_a_short_song_does_not_wait_for_long_ones() -> None:
    fairness: DeficitRoundRobin[str] = DeficitRoundRobin(5166)
    costs = {f"long {index}": 5166 for index in range(8)}
    for _ in range(5):
        fairness.pick(costs)
    turns = 0
    for _ in range(60):  # all steps of a song of 30 s
        while True:
            turns += 1
            if "short" in fairness.pick(costs | {"short": 646}):
                break
    assert turns <= 60 * (1 + 8 * 646 / 5166) + 9
    assert turns < 8 * 60 / 3  # the long ones have done less than a third of their steps


def test_who_has_nothing_to_do_saves_nothing() -> None:
    fairness: DeficitRoundRobin[str] = DeficitRoundRobin(10)
    for _ in range(100):
        fairness.pick({"a": 10, "b": 10})
    picks = [fairness.pick({"a": 10, "b": 10, "late": 10})[0] for _ in range(9)]
    assert Counter(picks) == {"a": 3, "b": 3, "late": 3}
    fairness.pick({"a": 10, "b": 10})
    picks = [fairness.pick({"a": 10, "b": 10, "late": 10})[0] for _ in range(9)]
    assert Counter(picks)["late"] <= 3


def turns_until(room: TokenBudget, tokens: int, most: int = 10**6) -> int:
    for turn in range(most):
        if room.tokens >= tokens:
            return turn
        room.held()
    raise AssertionError(room.tokens)


def test_room_that_ran_out_comes_back_slowly_and_no_further_than_it_was() -> None:
    room = TokenBudget(1000, turns=10)
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
    room, taken = TokenBudget(1000, turns=10), list[int]()
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
    room = TokenBudget(64)
    for _ in range(9):
        room.ran_out(room.tokens)
    assert room.tokens == 1
