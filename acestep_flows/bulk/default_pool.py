"""The pool of a job that names no pool file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acestep_flows.model.machine import Machine, this_machine
from acestep_flows.runtime.serving.pool import AUTO, Pool
from acestep_flows.runtime.serving.suited_pool import gpu_pool, room, summary

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint


def suited_pool(checkpoint: Checkpoint, machine: Machine | None = None) -> Pool:
    """The pool for a machine, by default this one: its GPUs, otherwise a process for each core that memory allows."""
    from acestep_flows.runtime.bulk.pipeline import local_pool

    machine = machine if machine is not None else this_machine()
    if (pool := gpu_pool(checkpoint, machine)) is not None:
        return pool
    processes = max(1, min(machine.cores, room(checkpoint, machine)))
    return local_pool(processes, name=AUTO, summary=summary(processes, 1, checkpoint, machine))
