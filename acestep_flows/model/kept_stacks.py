"""What is made of the conditions of a batch, kept while the same songs are together."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch

T = TypeVar("T")

KEPT = 4
"""Batches whose stacks are kept: the passes of a turn."""


class KeptStacks(Generic[T]):
    """Remembers what `make` made of the last few batches. A stack goes when one of its songs does.

    With gradients nothing is kept: a stack would hold on to the graph of its step.
    """

    def __init__(self, make: Callable[[Sequence[Any]], T]) -> None:
        self._make = make
        self._kept: OrderedDict[tuple[int, ...], tuple[T, list[weakref.ref[Any]]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, parts: Sequence[Any]) -> T:
        """What `make` makes of `parts`, which are told apart by identity."""
        if torch.is_grad_enabled():
            return self._make(parts)
        key = tuple(id(part) for part in parts)
        kept = self._kept.get(key)
        if kept is not None and all(ref() is part for ref, part in zip(kept[1], parts, strict=True)):
            return kept[0]
        made = self._make(parts)
        self._kept[key] = made, [weakref.ref(part, lambda _: self._kept.pop(key, None)) for part in parts]
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return made
