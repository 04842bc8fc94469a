"""Whether a machine has room for a pool, asked before anything starts; and a pool without GPUs, to try it anywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from acestep_flows.errors import InputError
from acestep_flows.model.machine import Machine, this_machine
from acestep_flows.runtime.serving.packing import NodeRoom, Packing, demands_of
from acestep_flows.runtime.serving.pool import AUTO, Pool
from acestep_flows.runtime.serving.pool_process import Process


def offered_gpus(pool: Pool, machine: Machine | None = None) -> int:
    """GPUs that a Ray of our own gives away on this machine: all that there are, if the pool asks for any."""
    if not pool.gpus:
        return 0
    return len((machine if machine is not None else this_machine()).gpus)


def check_room(pool: Pool, gpus: int, replicas: Mapping[str, int] | None = None) -> list[str]:
    """Check that a Ray of our own can place a pool on this machine.

    Cores need no check: such a Ray offers as many as are asked for, and only counts them.

    Args:
        gpus: how many it gives away.
        replicas: how many there will be, by process; None: all that the pool may have.

    Returns:
        Warnings for people: a pool that fits may still be placed so that it does not.

    Raises:
        InputError: it has no room, or no resource that a process is pinned to. Says what is missing.
    """
    demands = demands_of(pool, most=True)
    if replicas is not None:
        demands = [replace(each, count=replicas[each.process]) for each in demands if replicas.get(each.process)]
    packing = Packing(demands, [NodeRoom("this machine", {"CPU": pool.cpus, "GPU": gpus})])
    if missing := packing.missing():
        allowed = f"{AUTO}, which fits this machine; a cluster by --ray ADDRESS; serve --rehearse tries it without GPUs"
        raise InputError(f"pool {pool.name}: {missing}", where="--pool", allowed=allowed)
    if (demand := packing.unlucky()) is not None:
        return [
            f"pool {pool.name} may not come up: where others are placed first, {demand.process} ({demand} each) finds "
            "no room; whole GPUs always do"
        ]
    return []


def rehearsed(pool: Pool) -> tuple[Pool, int]:
    """A pool with the processes of another, on processors, and how many GPUs Ray is to be told that there are.

    Each process keeps its reservations, so that Ray places and scales it as it would with GPUs. It computes on the
    processor with one thread, and pins to machines are left out.
    """
    processes = {name: _on_processor(process) for name, process in pool.processes.items()}
    told = [machines.count * machines.gpus for machines in pool.machines]
    return pool.model_copy(update={"processes": processes}), max([math.ceil(pool.gpus), *told])


def _on_processor(process: Process) -> Process:
    # A copy is not checked again: a process on a processor with GPUs is refused in files.
    plain: dict[str, Any] = {"device": "cpu", "dtype": "float32", "compile": False, "fp8": False}
    small: dict[str, Any] = {"threads": 1, "workers": None, "batch": None}
    unpinned: dict[str, Any] = {"resources": {}, "labels": {}, "accelerator_type": None}
    return process.model_copy(update={**plain, **small, **unpinned})
