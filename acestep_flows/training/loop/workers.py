"""The workers of a training: one process, or several that share the batches of a step.

The batches of a step (`loop.accumulate`) are divided among the workers, and their gradients are summed. So every
worker has the gradients of the whole step and updates its weights as the others do. A recipe means the same for any
number of workers, except for the order in which gradients are added. Only the first worker writes files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from acestep_flows.errors import InputError
from acestep_flows.training.loop.recipe import TrainingRecipe

BUCKET = 2**26
"""Bytes of gradients that are summed in one call."""


class WorkerGroup(Protocol):
    """The workers of a training as one of them sees it: `rank` of `size`, counted from 0."""

    rank: int
    size: int

    def gather(self, value: Any) -> list[Any]:
        """The values that all workers pass to this call, by rank. Waits for all workers."""

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace the gradients of `parameters` by their sum over all workers. Waits for all workers."""


class SingleWorker:
    """A training in one process."""

    rank, size = 0, 1

    def gather(self, value: Any) -> list[Any]:
        return [value]

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None: ...


class DistributedWorkers:
    """The processes of torch's default process group."""

    def __init__(self) -> None:
        from torch import distributed

        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()

    def gather(self, value: Any) -> list[Any]:
        from torch import distributed

        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values

    @torch.no_grad()
    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        from torch import distributed

        # A parameter without a gradient on any worker keeps none, so that the optimiser leaves it unchanged.
        flags = zip(*self.gather(_gradient_flags(parameters)), strict=True)
        for parameter, worker_flags in zip(parameters, flags, strict=True):
            if any(worker_flags) and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for bucket in _buckets(parameter.grad for parameter in parameters if parameter.grad is not None):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            distributed.all_reduce(flat)
            for gradient, summed in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
                gradient.copy_(summed.view_as(gradient))


def batches_per_worker(recipe: TrainingRecipe, size: int) -> int:
    """The number of batches of a step that each of `size` workers has.

    Raises:
        InputError: the batches cannot be divided evenly.
    """
    batches = recipe.loop.accumulate
    if batches % size:
        what = f"{batches} per step cannot be divided evenly by {size} workers"
        raise InputError(what, where="loop.accumulate", allowed=f"a multiple of {size}")
    return batches // size


def _gradient_flags(parameters: Sequence[nn.Parameter]) -> bytes:
    """One byte per parameter: 1 where it has a gradient."""
    return bytes(parameter.grad is not None for parameter in parameters)


def _buckets(gradients: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Group gradients, in order, into buckets of up to `BUCKET` bytes and of one dtype each."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        size = sum(tensor.nbytes for tensor in bucket) + gradient.nbytes
        if bucket and (size > BUCKET or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket
