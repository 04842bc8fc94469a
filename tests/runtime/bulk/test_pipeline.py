"""Orders through real processes: every one arrives, whatever dies on the way."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from acestep_flows.graph.planning.plan import NodeOutput, Plan, PlanNode
from acestep_flows.runtime.bulk.pipeline import FINISH, cpus_for, legs_for, local_pool, pipeline
from acestep_flows.runtime.bulk.plan_segments import legs_of
from acestep_flows.runtime.bulk.segment_actor import Delivered, PlanOutcome, RowOrder
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.values import Noise
from tests.runtime.serving.pools import content

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@dataclass(frozen=True)
class Draws:
    """Noise from seeds; two nodes, of two stages."""

    root: Path

    def checkpoint(self) -> Checkpoint:
        from acestep_flows.model.checkpoint import Checkpoint

        return Checkpoint.open(self.root)

    def stages(self) -> Collection[str]:
        return ("init_noise",)

    def plan(self, content: Any) -> Plan:
        self.die(content)
        nodes = {"noise": PlanNode("noise", "init_noise", {"duration": 1.0, "seed": content})}
        return Plan("draws", "0" * 64, {}, nodes, {"noise": NodeOutput("noise", "noise")})

    def finish(self, content: Any, end: PlanOutcome) -> Any:
        if end.error is not None:
            return str(end.error)
        assert end.plan is not None
        noise = end.plan.outputs["noise"]
        assert isinstance(noise, Noise)
        return float(np.abs(noise.array).sum()), [node.id for node in end.nodes]

    def die(self, content: Any) -> None:
        """As a process does that the kernel ends."""
        if content == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        if (once := self.root / "kill-once").exists() and content == 3:
            once.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


def through(work: Draws, pool: Pool, seeds: Collection[int], together: int = 2) -> list[Delivered]:
    legs = legs_for(pool, legs_of(replace(work).plan(0), pool.home_of))
    orders = [RowOrder(str(seed), seed) for seed in seeds]
    with pipeline(orders, work, pool, legs, together=together) as found:
        return list(found)


def test_a_process_that_dies_is_replaced_and_every_order_arrives_once(small_root: Path) -> None:
    (small_root / "kill-once").write_text("")
    found = through(Draws(small_root), local_pool(1), [0, 1, 2, 3, 99999999999])
    assert not (small_root / "kill-once").exists()
    results = {ended.id: ended.result for ended in found}
    assert Counter(ended.id for ended in found) == Counter(["0", "1", "2", "3", "99999999999"])
    assert "seed" in results["99999999999"]
    assert results["3"][1] == ["noise"]
    assert all(ended.began > 0 and ended.busy[0].leg == "all" for ended in found)


def test_what_stages_took_arrives_with_the_orders_each_call_once(small_root: Path) -> None:
    found = through(Draws(small_root), local_pool(1), range(5))
    timed = [call for ended in found for call in ended.timed]
    assert [(call.stage, call.numerics) for call in timed] == [("init_noise", "cpu-float32")] * 5
    assert all(call.seconds > 0 and call.nbytes > 0 for call in timed)


def test_orders_that_kill_one_process_after_the_other_are_missing(small_root: Path) -> None:
    """Neighbours may be lost with them: who was beside a killer twice has no tries left. The job tries these alone."""
    found = Counter(ended.id for ended in through(Draws(small_root), local_pool(1), [0, 1, 13, 14, 4, 5]))
    assert not {"13", "14"} & set(found)
    assert set(found) <= {"0", "1", "4", "5"}
    assert all(count == 1 for count in found.values())


def test_legs_have_processes_of_their_own(small_root: Path) -> None:
    apart = {
        "noise": {"stages": ["init_noise"], "cpus": 0.5},
        "rest": {"stages": [name for name in local_pool(1).home_of if name != "init_noise"], "cpus": 0.5},
    }
    pool = Pool.checked(content(processes=apart))
    legs = legs_for(pool, ("noise", "rest", "noise"))
    assert [leg.name for leg in legs] == ["noise", "rest", "noise-2", FINISH]
    assert cpus_for(pool, legs) == 2.0
    assert [leg.name for leg in legs_for(pool, ("rest",))] == ["rest"]
