"""Numbers from this process to a device, without waiting for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def on_device(content: Sequence[float] | Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor of `content` on `device`.

    A copy from ordinary memory to a GPU waits until the GPU has done all it was asked for before. From pinned memory it
    takes its turn in the queue, and the caller goes on.
    """
    tensor = torch.as_tensor(content, dtype=dtype)
    if device.type != "cuda" or tensor.device.type == "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
