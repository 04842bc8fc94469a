"""The scheduler: what runs share, and what it costs."""

from __future__ import annotations

import asyncio

import pytest

from acestep_flows.errors import NotFound
from acestep_flows.graph.execution.result import Options
from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.planning.plan import Plan
from tests.graph.small_stages import RAN, node, out, plan_of, run, scheduler_of, song, sources


def wide(nodes: int) -> Plan:
    leaves = {f"n{i}": node("make", seed=i, frames=1) for i in range(nodes)}
    return plan_of({**leaves, "all": node("mix", parts=[out(id) for id in leaves])})


def deep(nodes: int) -> Plan:
    chain = {f"n{i}": node("step", latents=out(f"n{i - 1}"), steps=0, tag=str(i)) for i in range(1, nodes)}
    return plan_of({"n0": node("make"), **chain})


@pytest.mark.parametrize("plan", [wide(1000), deep(1000)], ids=["wide", "deep"])
def test_a_thousand_nodes_run_and_cost_little(plan: Plan) -> None:
    result, _ = run(plan)
    assert len(result.nodes) == len(plan.nodes)
    # benchmarks/scheduler.py measures 0.1 ms a node; this only catches what is worse than linear.
    assert result.seconds / len(plan.nodes) < 0.005


def test_many_runs_share_one_scheduler() -> None:
    async def both() -> None:
        RAN.clear()
        with scheduler_of() as scheduler:
            results = await asyncio.gather(*(run_plan(scheduler, song(seed=i % 3)) for i in range(30)))
            assert (
                len({result.nodes["song"].cache_key.digest for result in results if result.nodes["song"].cache_key})
                == 3
            )
            computed = [source for result in results for source in sources(result).values() if source == "computed"]
            # Three of each but `two`, which all of them share.
            assert len(computed) == len(RAN) == 3 * 3 + 1

    asyncio.run(both())


def test_an_unknown_stage_lists_those_there_are() -> None:
    with scheduler_of() as scheduler, pytest.raises(NotFound, match="no stage 'vocoder'; there are break, judge, make"):
        scheduler.stage("vocoder")


def test_without_a_cache_results_are_kept_in_memory() -> None:
    from acestep_flows.graph.execution.scheduler import Scheduler

    async def both() -> None:
        with scheduler_of() as given:
            scheduler = Scheduler(given.stages, given.runner)
            await run_plan(scheduler, song())
            assert set(sources(await run_plan(scheduler, song(), Options())).values()) == {"memory"}

    asyncio.run(both())
