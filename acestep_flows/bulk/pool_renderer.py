"""Songs from processes of this job, over Ray Data."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Collection, Generator, Mapping, Sequence
from typing import TYPE_CHECKING

from acestep_flows.bulk.driver import AttemptEnd, Route
from acestep_flows.bulk.progress_meter import Meter
from acestep_flows.bulk.row_work import Attempt, JobWork
from acestep_flows.graph.execution.timings import Timings
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.runtime.bulk.plan_segments import legs_of, merged
from acestep_flows.runtime.bulk.segment_actor import RowOrder
from acestep_flows.runtime.serving.pool import Pool

if TYPE_CHECKING:
    from acestep_flows.runtime.serving.local_ray import OwnRay

log = logging.getLogger(__name__)

TOGETHER = 4
"""Rows that travel together: what a lost process costs, and what one turn of the step engine may share."""


class PoolRenderer:
    """The `Renderer` of a pool. Ray starts with the first rows and ends with `close`.

    Args:
        work: of the job.
        pool: the processes.
        address: of a Ray cluster; None: start Ray on this machine.
        timings: where computed stages are recorded; saved on the way, and with `close`.
    """

    def __init__(
        self, work: JobWork, pool: Pool, *, address: str | None = None, timings: Timings | None = None
    ) -> None:
        self._work, self._pool, self._address = work, pool, address
        self._timings = timings if timings is not None else Timings()
        self._stack = contextlib.ExitStack()
        self._cpus = self._gpus = -1.0
        self._own: OwnRay | None = None

    def route(self, plan: Plan) -> Route:
        """The processes that the plan goes through."""
        return legs_of(plan, self._pool.home_of)

    def render(
        self, attempts: Sequence[Attempt], routes: Collection[Route], meter: Meter, *, alone: bool
    ) -> Generator[AttemptEnd, None, None]:
        """Results of the attempts, as they arrive. Raises FlowsError if Ray dies under them."""
        from acestep_flows.runtime.bulk.cluster import room
        from acestep_flows.runtime.bulk.pipeline import cpus_for, gpus_for, legs_for, own_resources_for, pipeline
        from acestep_flows.runtime.bulk.ray_watch import while_ray_lives
        from acestep_flows.runtime.bulk.room_watch import while_room_is_told

        legs = legs_for(self._pool, merged(routes))
        needed = {"CPU": cpus_for(self._pool, legs), "GPU": gpus_for(self._pool, legs)}
        needed |= own_resources_for(self._pool, legs)
        replicas: Counter[str] = Counter()
        for leg in legs:
            replicas[leg.process or leg.name] += leg.replicas  # a way may go through a process twice
        gpus = self._gpus_here(replicas)
        meter.begin({leg.name: leg.replicas for leg in legs})
        self._start_ray(needed["CPU"], gpus)
        by_id = {attempt.row.id: attempt for attempt in attempts}
        orders = [RowOrder(id, attempt) for id, attempt in by_id.items()]
        together = 1 if alone else min(TOGETHER, self._pool.engine.songs)
        with pipeline(orders, self._work, self._pool, legs, together=together) as deliveries:
            arriving = while_ray_lives(deliveries, self._own)
            if self._address is not None:
                arriving = while_room_is_told(arriving, needed, room, log.warning)
            for delivered in arriving:
                meter.worked(delivered.began, delivered.busy)
                for call in delivered.timed:
                    self._timings.record(*call)
                self._timings.save_between()  # a job that is killed does not come to its end
                yield by_id[delivered.id], delivered.result

    def close(self) -> None:
        """End Ray, if this renderer started it."""
        self._stack.close()
        self._timings.save()

    def _gpus_here(self, replicas: Mapping[str, int]) -> float:
        """GPUs that a Ray on this machine gives away; none where a cluster has its own.

        Args:
            replicas: how many there will be, by process.

        Raises:
            InputError: the machine has no room for them.
        """
        from acestep_flows.runtime.serving.room import check_room, offered_gpus

        if self._address is not None:
            return 0.0
        gpus = offered_gpus(self._pool)
        for warning in check_room(self._pool, gpus, replicas):
            log.warning(warning)
        return gpus

    def _start_ray(self, cpus: float, gpus: float) -> None:
        """Have a Ray with room for the legs; one that this renderer started and is too small is replaced."""
        from acestep_flows.runtime.bulk.cluster import cluster

        if cpus <= self._cpus and gpus <= self._gpus:
            return
        self._stack.close()
        self._own = self._stack.enter_context(cluster(cpus, gpus, address=self._address))
        self._cpus, self._gpus = cpus, gpus
