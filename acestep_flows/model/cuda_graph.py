"""Work that a GPU was shown once and then repeats by itself, without the host launching every kernel again.

`Recorder` is all that the rest of the code knows. `CudaGraphs` is the one for NVIDIA GPUs; no GPU has run it yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

WARM_UPS = 2
"""Runs before recording: libraries choose their kernels and take their memory in the first ones."""


@dataclass(frozen=True, eq=False)
class Recording:
    """Recorded work.

    Attributes:
        replay: does it again, on what its inputs hold by then.
        output: what it made, overwritten by every replay.
        nbytes: memory that it holds besides its inputs.
    """

    replay: Callable[[], None]
    output: Tensor
    nbytes: int


class Recorder(Protocol):
    """Records work."""

    def record(self, work: Callable[[], Tensor]) -> Recording:
        """Run `work` and record it. It may read only tensors that outlive the recording, and nothing from the host."""


class CudaGraphs:
    """Records CUDA graphs. All of them share one pool of memory, as only one runs at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, work: Callable[[], Tensor]) -> Recording:
        stream = torch.cuda.Stream(self._device)
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                work()
        torch.cuda.current_stream(self._device).wait_stream(stream)
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()  # so that the difference is what the recording takes
        graph, before = torch.cuda.CUDAGraph(), torch.cuda.memory_reserved(self._device)
        # Other threads decode meanwhile: what they ask for must not break the recording.
        with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
            output = work()
        return Recording(graph.replay, output, max(0, torch.cuda.memory_reserved(self._device) - before))
