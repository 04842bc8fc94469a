"""The pool that suits a machine, where nobody names a pool file."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from acestep_flows.errors import InputError
from acestep_flows.model.checkpoint import PARTS
from acestep_flows.model.machine import Machine, this_machine
from acestep_flows.runtime.serving.pool import AUTO, EngineSection, LimitsSection, Pool, Process
from acestep_flows.stages.registry import stages

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.placement import Dtype

OVERHEAD = 1_000_000_000
"""Bytes that a process needs beside its weights: libraries, and the songs it is working on."""

SHARE = 0.8
"""How much of the free memory a pool may plan with."""

CORES_TOGETHER = 8
"""Cores of one process that serves. With more cores, several processes share them."""

RUNS_PER_PROCESS = 8
_BYTES: dict[Dtype, int] = {"float32": 4, "bfloat16": 2}


def serving_pool(checkpoint: Checkpoint, machine: Machine | None = None) -> Pool:
    """The pool of a server: on the GPUs where the weights fit, else with all cores in few processes.

    One process with several cores finishes a single song sooner than a process for each core, and holds the weights
    once.

    Args:
        checkpoint: the weights.
        machine: by default this one.
    """
    machine = machine if machine is not None else this_machine()
    if (pool := gpu_pool(checkpoint, machine)) is not None:
        return pool
    processes = max(1, min(room(checkpoint, machine), machine.cores // CORES_TOGETHER))
    threads = max(1, machine.cores // processes)
    every = Process(stages=tuple(stages()), replicas=processes, cpus=threads, threads=threads)
    return Pool(
        name=AUTO,
        summary=summary(processes, threads, checkpoint, machine),
        processes={"all": every},
        engine=EngineSection(tokens=4096, songs=16),
        limits=LimitsSection(running=RUNS_PER_PROCESS * processes),
    )


def gpu_pool(checkpoint: Checkpoint, machine: Machine) -> Pool | None:
    """The shipped pool `single-gpu`, with its networks on every GPU; None where no GPU has room for the weights."""
    if not machine.gpus or _too_small(checkpoint, machine):
        return None
    shipped = Pool.read("single-gpu")
    count, networks, audio = len(machine.gpus), shipped.processes["networks"], shipped.processes["audio"]
    cpus = max(1, min(int(networks.cpus), machine.cores // count))
    each = f"{count} processes with all networks, a GPU each" if count > 1 else "1 process with all networks on the GPU"
    return Pool(
        name=AUTO,
        summary=f"{each}, another for the other stages ({machine})",
        processes={
            "networks": networks.model_copy(update={"replicas": count, "cpus": cpus}),
            "audio": audio.model_copy(update={"cpus": min(audio.cpus, machine.cores)}),
        },
        engine=shipped.engine,
        limits=shipped.limits.model_copy(update={"running": shipped.limits.running * count}),
    )


def machine_with(device: int | None) -> tuple[Machine, list[str]]:
    """This machine, with one of its GPUs where a number is given, for this process and those it starts.

    Returns:
        The machine, and lines for people: a GPU that is asked for may not be there.

    Raises:
        InputError: the machine has GPUs, but not this one.
    """
    machine = this_machine()
    if device is None:
        return machine, []
    if not machine.gpus:
        return machine, [f"device {device}: this machine has no GPU, so the processor is used"]
    if device >= len(machine.gpus):
        raise InputError(f"no GPU {device}", where="--device", allowed=f"0 to {len(machine.gpus) - 1}")
    os.environ["CUDA_VISIBLE_DEVICES"] = str(device)
    return replace(machine, gpus=(machine.gpus[device],)), []


def with_choices(pool: Pool, checkpoint: str | None, dtype: Dtype | None) -> Pool:
    """A pool with other weights, and another precision of its networks, where these are named."""
    processes = dict(pool.processes)
    if dtype is not None:
        on_gpu = [name for name, process in processes.items() if process.device != "cpu"]
        for name in on_gpu or list(processes):
            processes[name] = processes[name].model_copy(update={"dtype": dtype})
    return pool.model_copy(update={"processes": processes, "checkpoint": checkpoint or pool.checkpoint})


def room(checkpoint: Checkpoint, machine: Machine) -> int:
    """How many processes with all weights in float32 the free memory holds."""
    return int(machine.memory * SHARE) // (weights_bytes(checkpoint, "float32") + OVERHEAD)


def summary(processes: int, threads: int, checkpoint: Checkpoint, machine: Machine) -> str:
    """What was chosen for the processor, and why: `1 process with all stages, 2 threads (2 cores, ...)`."""
    several = f"{processes} processes" if processes > 1 else "1 process"
    each = f"{threads} thread{'s' if threads > 1 else ''}{' each' if processes > 1 else ''}"
    least = (weights_bytes(checkpoint, "bfloat16") + OVERHEAD) / SHARE / 1e9
    small = f", too small for the weights: {least:.0f} GB are needed" if machine.gpus else ""
    return f"{several} with all stages, {each} ({machine}{small})"


def weights_bytes(checkpoint: Checkpoint, dtype: Dtype, parts: Iterable[str] = PARTS) -> int:
    """Bytes of memory that parts of a checkpoint take in a precision."""
    return _BYTES[dtype] * sum(math.prod(shape) for part in parts for shape in checkpoint.shapes(part).values())


def memory_warning(pool: Pool, checkpoint: Checkpoint, machine: Machine | None = None) -> str | None:
    """A line for people if the weights of a pool's processes need more memory than is free; else None."""
    machine = machine if machine is not None else this_machine()
    needed = 0
    for process in pool.processes.values():
        parts = {part for stage in process.stages for part in stages()[stage].parts}
        if process.device == "cpu":
            needed += process.most * weights_bytes(checkpoint, process.dtype, parts & set(PARTS))
    if needed <= machine.memory:
        return None
    what = (
        f"the weights of its processes take {needed / 1e9:.0f} GB of memory, and {machine.memory / 1e9:.0f} GB are free"
    )
    return f"pool {pool.name}: {what}; --pool {AUTO} fits this machine"


def _too_small(checkpoint: Checkpoint, machine: Machine) -> bool:
    return min(machine.gpus) * SHARE < weights_bytes(checkpoint, "bfloat16") + OVERHEAD
