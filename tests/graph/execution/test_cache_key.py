"""Identities: when weights are looked up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from acestep_flows.errors import CheckpointError
from acestep_flows.graph.execution.cache_key import CacheKeys
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.stages.contract import StageParams
from acestep_flows.stages.registry import stages
from tests.graph.small_stages import Make, Mix, Weights


class Adapted(Make):
    """A stage whose weights depend on a parameter."""

    name = "adapted"

    class Params(StageParams):
        adapter: str = ""

    @classmethod
    def weights(cls, checkpoint: Any, params: Any) -> tuple[str, ...]:
        return (*super().weights(checkpoint, params), f"adapter {params.adapter}")


def weights_of(calls: list[StageCall], checkpoint: Any) -> list[tuple[str, ...]]:
    async def both() -> list[tuple[str, ...]]:
        with LocalRunner(checkpoint) as runner:
            identities = CacheKeys(runner)
            return [made.weights for made in await asyncio.gather(*(identities.of(call) for call in calls))]

    return asyncio.run(both())


def test_weights_are_looked_up_once_even_at_once() -> None:
    weights = Weights()
    calls = [StageCall(Make, {}, Make.Params(seed=i)) for i in range(10)]
    assert weights_of(calls, weights) == [("w1",)] * 10
    assert weights.asked == 1


def test_a_stage_without_weights_asks_nobody() -> None:
    weights = Weights()
    assert weights_of([StageCall(Mix, {"parts": []}, Mix.Params())], weights) == [()]
    assert weights.asked == 0


def test_weights_that_parameters_name_are_part_of_it() -> None:
    calls = [StageCall(Adapted, {}, Adapted.Params(adapter=name)) for name in ("rap", "choir", "rap")]
    assert weights_of(calls, Weights()) == [("w1", "adapter rap"), ("w1", "adapter choir"), ("w1", "adapter rap")]


def test_a_file_that_cannot_be_read_is_an_error() -> None:
    class Missing:
        def digest(self, part: str) -> str:
            raise CheckpointError("not there", where=part)

    with pytest.raises(CheckpointError, match="not there"):
        weights_of([StageCall(Make, {}, Make.Params())], Missing())


class Longer(Make):
    """A stage that got a parameter without a new version."""

    name = "longer"

    class Params(StageParams):
        seed: int = 0
        exact: bool = False
        added_later = frozenset({"exact"})


def test_a_parameter_added_later_leaves_stored_results_where_they_are() -> None:
    assert Longer.Params(seed=1).key_content() == {"seed": 1}
    assert Longer.Params(seed=1, exact=False).key_content() == {"seed": 1}
    assert Longer.Params(seed=1, exact=True).key_content() == {"seed": 1, "exact": True}


def test_what_was_added_later_has_a_default_of_before() -> None:
    added = {name: stage.Params.added_later for name, stage in stages().items() if stage.Params.added_later}
    assert added == {"init_noise": {"exact_length"}, "repaint": {"exact_length"}, "pick": {"seeds"}}
    for name, fields in added.items():
        assert fields <= set(stages()[name].Params.model_fields)
