"""Networks with adapters on them, and control branches: loaded once, kept while they are in use or recently were."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

from acestep_flows.model.layout import TRANSFORMER

if TYPE_CHECKING:
    from acestep_flows.model.adapters import Adapter
    from acestep_flows.model.checkpoint import Checkpoint

T = TypeVar("T")

KEPT = 4
"""How many adapters, strengths of each, and control branches stay loaded beside the base weights."""


class LruCache(Generic[T]):
    """The `limit` most recently used things by key; who still holds a dropped one keeps it alive."""

    def __init__(self, limit: int = KEPT) -> None:
        self.limit = limit
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What stands under `key`, made on first use."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = make()
            self._kept.move_to_end(key)
            while len(self._kept) > self.limit:
                self._kept.popitem(last=False)
            return self._kept[key]


class AdapterCache(Generic[T]):
    """Twins of one network under adapters: a file is read once for all strengths that are asked of it."""

    def __init__(self, limit: int = KEPT) -> None:
        self._adapters: LruCache[tuple[Adapter, LruCache[T]]] = LruCache(limit)
        self._strengths = limit

    def under(
        self, checkpoint: Checkpoint, base: T, name: str | None, weight: float, twin: Callable[[Adapter], T]
    ) -> T:
        """`base`, or what `twin` makes of it with the adapter called `name`; kept by its content, and by `weight`."""
        if name is None:
            return base

        def read() -> tuple[Adapter, LruCache[T]]:
            from acestep_flows.model.adapters import Adapter

            found = checkpoint.extras.find("adapters", name)
            base = checkpoint.digest(TRANSFORMER)
            return Adapter.load(found, checkpoint.config(TRANSFORMER), base), LruCache(self._strengths)

        adapter, twins = self._adapters.get(checkpoint.extra_digest("adapters", name), read)
        return twins.get(weight, lambda: twin(adapter))
