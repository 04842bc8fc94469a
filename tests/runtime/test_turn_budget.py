from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.runtime.turn_budget import DeficitRoundRobin

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
