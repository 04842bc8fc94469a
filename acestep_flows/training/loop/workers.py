"""Who trains together: one process, or several that share the batches of a step and move the same weights.

The batches of a step (`loop.accumulate`) are dealt out; gradients are added up, so every member has those of the whole
step and moves its weights as the others do. A recipe therefore means the same whatever the number of workers, down to
the order in which numbers are added. The first member alone writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from acestep_flows.errors import InputError
from acestep_flows.training.loop.recipe import TrainingRecipe

BUCKET = 2**26
"""Bytes of gradients that are sent at once."""


class WorkerGroup(Protocol):
    """One member's view of those it trains with."""

    rank: int
    size: int

    def gather(self, said: Any) -> list[Any]:
        """What every member says at this moment, by rank. Waits for all of them."""

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Make every member's gradients the sum of all. Waits for all of them."""


class SingleWorker:
    """No others."""

    rank, size = 0, 1

    def gather(self, said: Any) -> list[Any]:
        return [said]

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None: ...


class Group:
    """The processes of torch's default process group."""

    def __init__(self) -> None:
        from torch import distributed

        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()

    def gather(self, said: Any) -> list[Any]:
        from torch import distributed

        heard: list[Any] = [None] * self.size
        distributed.all_gather_object(heard, said)
        return heard

    @torch.no_grad()
    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        from torch import distributed

        # What nobody's batches have touched stays without a gradient: the optimiser then leaves it where it is.
        touched = [any(column) for column in zip(*self.gather(_touched(parameters)), strict=True)]
        for parameter, wanted in zip(parameters, touched, strict=True):
            if wanted and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for bucket in _buckets(parameter.grad for parameter in parameters if parameter.grad is not None):
            joined = torch.cat([gradient.flatten() for gradient in bucket])
            distributed.all_reduce(joined)
            for gradient, summed in zip(bucket, joined.split([g.numel() for g in bucket]), strict=True):
                gradient.copy_(summed.view_as(gradient))


def share(recipe: TrainingRecipe, size: int) -> int:
    """How many batches of a step each of `size` members has.

    Raises:
        InputError: not all as many.
    """
    batches = recipe.loop.accumulate
    if batches % size:
        what = f"{batches} per step cannot be shared evenly by {size} workers"
        raise InputError(what, where="loop.accumulate", allowed=f"a multiple of {size}")
    return batches // size


def _touched(parameters: Sequence[nn.Parameter]) -> bytes:
    """For each parameter whether it has a gradient."""
    return bytes(parameter.grad is not None for parameter in parameters)


def _buckets(gradients: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Gradients in order, so many at a time that they fill a bucket; all of a bucket are of one dtype."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        size = sum(one.nbytes for one in bucket) + gradient.nbytes
        if bucket and (size > BUCKET or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket
