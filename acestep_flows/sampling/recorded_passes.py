"""Forward passes that a GPU repeats by itself: one recording for each shape, as many as memory allows.

shape of the pass, rounded up      (`pass_shapes.py`)
its recording, made at first use   (`recorded_pass.py`); the least recently used ones go
the pass as it is where there is none: too large, no memory, or not to be recorded
"""

from __future__ import annotations

import logging
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from acestep_flows.model.cuda_graph import CudaGraphs, Recorder
from acestep_flows.model.transformer import Transformer
from acestep_flows.sampling.denoiser import DenoiserRow, predict_stacked
from acestep_flows.sampling.pass_shapes import PassShape
from acestep_flows.sampling.recorded_pass import RecordedPass, least_bytes

log = logging.getLogger(__name__)

Key = tuple[int, PassShape]
"""A network, by identity, and a shape."""


@dataclass(frozen=True)
class RecordingStats:
    """What is recorded, and how it serves.

    Attributes:
        shapes, bytes: recordings there are, and their memory.
        replayed, eager: passes with and without a recording.
        recorded, dropped, failed: recordings made, given up for others, and not possible.
    """

    shapes: int = 0
    bytes: int = 0
    replayed: int = 0
    eager: int = 0
    recorded: int = 0
    dropped: int = 0
    failed: int = 0


class RecordedPasses:
    """Makes forward passes. Used by one thread; `stats` by any.

    Args:
        budget: bytes of all recordings together.
        recorder: gives what records on a device; called once for each.
    """

    def __init__(self, budget: int, recorder: Callable[[torch.device], Recorder] = CudaGraphs) -> None:
        self._budget, self._make_recorder = budget, recorder
        self._recorders: dict[torch.device, Recorder] = {}
        self._passes: OrderedDict[Key, RecordedPass] = OrderedDict()
        self._networks: dict[int, weakref.ref[Transformer]] = {}
        self._impossible: set[Key] = set()
        self._replayed = self._eager = self._recorded = self._dropped = self._failed = 0

    def __call__(self, transformer: Transformer, latents: Tensor, rows: Sequence[DenoiserRow]) -> Tensor:
        """Velocities of latents (B, 8, 16, T), padded on the right. The next call may overwrite them."""
        recorded = self._recorded_pass(transformer, latents, rows)
        if recorded is None:
            self._eager += 1
            return predict_stacked(transformer, latents, rows)
        self._replayed += 1
        return recorded(latents, rows)

    @property
    def stats(self) -> RecordingStats:
        """What is recorded by now."""
        held = sum(recorded.nbytes for recorded in tuple(self._passes.values()))
        counts = self._replayed, self._eager, self._recorded, self._dropped, self._failed
        return RecordingStats(len(self._passes), held, *counts)

    def _recorded_pass(
        self, transformer: Transformer, latents: Tensor, rows: Sequence[DenoiserRow]
    ) -> RecordedPass | None:
        tokens = max(row.memory.keys_values.shape[-2] for row in rows)
        controlled = any(row.control is not None for row in rows)
        shape = PassShape(len(rows), latents.shape[-1], tokens, controlled).rounded_up()
        if shape is None:
            return None
        key = self._network(transformer), shape
        if key in self._passes:
            self._passes.move_to_end(key)
            return self._passes[key]
        return None if key in self._impossible else self._record(key, transformer, latents.device)

    def _record(self, key: Key, transformer: Transformer, device: torch.device) -> RecordedPass | None:
        """A new recording, if it fits beside as few others as need be; else the shape is never tried again."""
        if least_bytes(transformer, key[1]) > self._budget:
            self._give_up(key)
            return None
        try:
            if device not in self._recorders:
                self._recorders[device] = self._make_recorder(device)
            recorded = RecordedPass(transformer, key[1], device, self._recorders[device])
        except torch.OutOfMemoryError:
            if not self._passes:
                self._give_up(key)
                return None
            self._drop_oldest()
            return self._record(key, transformer, device)
        except RuntimeError as error:
            log.warning("a pass of %s cannot be recorded, and is made without: %s", key[1], error)
            self._give_up(key)
            return None
        if recorded.nbytes > self._budget:
            self._give_up(key)
            return None
        self._recorded += 1
        self._passes[key] = recorded
        while sum(other.nbytes for other in self._passes.values()) > self._budget:
            self._drop_oldest()
        return recorded

    def _drop_oldest(self) -> None:
        self._passes.popitem(last=False)
        self._dropped += 1

    def _give_up(self, key: Key) -> None:
        self._failed += 1
        self._impossible.add(key)

    def _network(self, transformer: Transformer) -> int:
        """A name of the network. What is recorded of it goes with it."""
        name = id(transformer)
        if name not in self._networks:
            self._networks[name] = weakref.ref(transformer, lambda _: self._forget(name))
        return name

    def _forget(self, name: int) -> None:
        self._networks.pop(name, None)
        for key in [key for key in tuple(self._passes) if key[0] == name]:
            del self._passes[key]
        self._impossible = {key for key in self._impossible if key[0] != name}
