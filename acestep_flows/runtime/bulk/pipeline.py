"""Orders through a pool of processes with Ray Data: leg after leg, all of them working at the same time.

Small tables of a few rows go from leg to leg, and only as many as keep all processes busy: Ray Data pauses a leg while
its output waits for the next one. A process that dies is replaced and its rows are done again. Rows that kill one
process after the other are given up and never delivered, so the driver knows them by their absence.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ray import data as ray_data
from ray.data import ActorPoolStrategy, DataContext
from ray.exceptions import RayError

from acestep_flows.errors import FlowsError
from acestep_flows.runtime.bulk.segment_actor import Delivered, LegActor, PipelineWork, RowOrder, rows_of, table_of
from acestep_flows.runtime.serving.pool import EngineSection, Pool, Process
from acestep_flows.stages.registry import stages

log = logging.getLogger(__name__)

FINISH = "finish"
"""Name of the leg that measures and writes, where it has processes of its own."""

FINISH_CPUS = 0.5
LOST_TRIES = 1
"""Number of times that the rows of a process that died are done again before they are given up."""

CALLS = 2
"""Tables that one process works on at once, so that the next one need not wait while one is read or written."""


@dataclass(frozen=True)
class Leg:
    """One leg of a pipeline.

    Attributes:
        name: unique; reported with the work of the leg.
        process: its process of the pool; None: it only finishes rows.
        replicas: number of processes.
    """

    name: str
    process: str | None
    replicas: int


def local_pool(replicas: int, *, exact: bool = True, **settings: Any) -> Pool:
    """One process per core, each with every stage and one thread: the most songs that processors can make.

    Args:
        replicas: how many.
        exact: let every song be denoised alone, so that it is bit for bit what `run` makes with one thread. Songs that
            share forward passes come out the same but for rounding.
        settings: more of `Pool`, and its name in place of `bulk`.
    """
    every = Process(stages=tuple(stages()), replicas=replicas, cpus=1, threads=1, workers=1)
    engine = EngineSection(tokens=4096, songs=1 if exact else 16, save_every=0)
    return Pool(**{"name": "bulk", "processes": {"all": every}, "engine": engine} | settings)


def legs_for(pool: Pool, way: Sequence[str], writers: int = 1) -> list[Leg]:
    """The legs of a way through the pool. On a way of one leg its processes finish rows too."""
    names = [name if way[:at].count(name) == 0 else f"{name}-{way[:at].count(name) + 1}" for at, name in enumerate(way)]
    legs = [Leg(name, process, pool.processes[process].most) for name, process in zip(names, way, strict=True)]
    return legs if len(legs) == 1 else [*legs, Leg(FINISH, None, writers)]


def cpus_for(pool: Pool, legs: Sequence[Leg]) -> float:
    """Cores that the actors of these legs reserve."""
    return sum(
        leg.replicas * (FINISH_CPUS if leg.process is None else pool.processes[leg.process].cpus) for leg in legs
    )


def gpus_for(pool: Pool, legs: Sequence[Leg]) -> float:
    """GPUs that the actors of these legs reserve."""
    return sum(leg.replicas * pool.processes[leg.process].gpus for leg in legs if leg.process is not None)


def own_resources_for(pool: Pool, legs: Sequence[Leg]) -> dict[str, float]:
    """Resources of the user's own that the actors of these legs reserve, by name."""
    reserved: dict[str, float] = {}
    for leg in legs:
        if leg.process is not None:
            for name, amount in pool.processes[leg.process].resources.items():
                reserved[name] = reserved.get(name, 0.0) + leg.replicas * amount
    return reserved


@contextlib.contextmanager
def pipeline(
    orders: Sequence[RowOrder], work: PipelineWork, pool: Pool, legs: Sequence[Leg], *, together: int = 4
) -> Iterator[Iterator[Delivered]]:
    """Send orders through the legs.

    Args:
        orders: all of them; they are small.
        work: what to do, pickled.
        legs: as `legs_for` gives them.
        together: rows that stay together from leg to leg.

    Returns:
        The delivered orders as they end, in any order. Orders that are missing at the end were lost with processes.

    Raises:
        FlowsError: Ray itself fails.
    """
    _set_context()
    blocks = [
        table_of({order.id: order for order in orders[at : at + together]}) for at in range(0, len(orders), together)
    ]
    dataset: ray_data.Dataset = ray_data.from_arrow(blocks)
    for leg in legs:
        dataset = _through(dataset, leg, work, pool, together=together, last=leg is legs[-1])
    deliveries = _deliveries(dataset)
    try:
        yield deliveries
    finally:
        deliveries.close()


def _through(
    dataset: ray_data.Dataset, leg: Leg, work: PipelineWork, pool: Pool, *, together: int, last: bool
) -> ray_data.Dataset:
    process = pool.processes[leg.process] if leg.process is not None else None
    with warnings.catch_warnings():
        # Ray Data takes the number of retries only in this deprecated way, and without one it retries for ever.
        warnings.simplefilter("ignore", DeprecationWarning)
        return dataset.map_batches(
            LegActor,
            batch_size=1 if process is None else together,
            batch_format="pyarrow",
            zero_copy_batch=True,
            compute=ActorPoolStrategy(
                size=leg.replicas,
                max_tasks_in_flight_per_actor=CALLS + 1,
                max_concurrent_calls_per_actor=CALLS,
                enable_true_multi_threading=True,
            ),
            fn_constructor_args=(work, pool, leg.name, leg.process, last),
            num_cpus=FINISH_CPUS if process is None else process.cpus,
            num_gpus=process.gpus if process is not None and process.gpus else None,
            max_task_retries=LOST_TRIES,
            **(process.pins if process is not None else {}),
        )


def _deliveries(dataset: ray_data.Dataset) -> Generator[Delivered, None, None]:
    batches = iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1))
    try:
        for batch in batches:
            yield from rows_of(batch)
    except RayError as error:
        # All but the last line is a traceback.
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise FlowsError(f"the job's processes cannot go on: {reason}") from error


def _set_context() -> None:
    """Set the options of Ray Data for the whole process."""
    context = DataContext.get_current()
    context.max_errored_blocks = -1
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = False
