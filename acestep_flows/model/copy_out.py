"""Work and copies of a GPU that go beside each other: streams, and tensors copied to this process."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor


def mark(device: torch.device) -> Any:
    """A mark behind all that `device` was asked for so far; None where a device is never behind."""
    if device.type != "cuda":
        return None
    event = torch.cuda.Event(blocking=True)
    event.record(torch.cuda.current_stream(device))
    return event


def own_stream(device: torch.device) -> AbstractContextManager[Any]:
    """A context in which this thread's work on a GPU goes beside that of other threads.

    It begins behind what the GPU was asked for until now, as that may be the weights.
    """
    if device.type != "cuda":
        return nullcontext()
    stream = _stream(device, threading.get_ident())
    stream.wait_stream(torch.cuda.default_stream(device))
    return torch.cuda.stream(stream)


def copied_out(tensor: Tensor, behind: Any = None) -> Tensor:
    """`tensor` on the CPU. The calling thread waits for the copy, the device does not.

    The copy goes into pinned memory on a stream of its own, so the device goes on with its other work.

    Args:
        behind: the mark behind which `tensor` is there; None: now.
    """
    if tensor.device.type != "cuda":
        return tensor.to("cpu")
    stream = _stream(tensor.device, None)
    stream.wait_event(mark(tensor.device) if behind is None else behind)
    with torch.cuda.stream(stream):
        copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        copy.copy_(tensor, non_blocking=True)
        done = torch.cuda.Event(blocking=True)
        done.record(stream)
    done.synchronize()
    return copy


@lru_cache(maxsize=64)
def _stream(device: torch.device, thread: int | None) -> torch.cuda.Stream:
    """A stream for each thread, and one for copies."""
    return torch.cuda.Stream(device)
