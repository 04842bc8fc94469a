"""Networks under adapters, and control branches: loaded once, kept while in use or recently used."""

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

CACHE_SIZE = 4
"""How many adapters, strengths of each, and control branches stay loaded beside the base weights."""


class LruCache(Generic[T]):
    """The `limit` most recently used values, by key. A dropped value lives on while others hold it."""

    def __init__(self, limit: int = CACHE_SIZE) -> None:
        self.limit = limit
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `key`, made on first use."""
        with self._lock:
            if key not in self._values:
                self._values[key] = make()
            self._values.move_to_end(key)
            while len(self._values) > self.limit:
                self._values.popitem(last=False)
            return self._values[key]


class AdapterCache(Generic[T]):
    """Twins of one network under adapters. A file is read once for all its strengths."""

    def __init__(self, limit: int = CACHE_SIZE) -> None:
        self._adapters: LruCache[tuple[Adapter, LruCache[T]]] = LruCache(limit)
        self._strengths = limit

    def under(
        self, checkpoint: Checkpoint, base: T, name: str | None, weight: float, twin: Callable[[Adapter], T]
    ) -> T:
        """`base`, or its `twin` under the adapter called `name`; cached by the adapter's content and by `weight`.

        Raises:
            CheckpointError: the adapter is not usable, or its files were changed while they were read.
        """
        if name is None:
            return base

        def read() -> tuple[Adapter, LruCache[T]]:
            from acestep_flows.model.adapters import Adapter

            folder = checkpoint.extras.find("adapters", name)
            digest = checkpoint.digest(TRANSFORMER)
            loaded = Adapter.load(folder, checkpoint.config(TRANSFORMER), digest)
            checkpoint.check_extra("adapters", name, content)
            return loaded, LruCache(self._strengths)

        content = checkpoint.extra_digest("adapters", name)
        adapter, twins = self._adapters.get(content, read)
        return twins.get(weight, lambda: twin(adapter))
