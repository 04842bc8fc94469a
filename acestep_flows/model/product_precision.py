"""The precision of fp32 products on a GPU: full, or TF32, which keeps 10 bits of a mantissa and is much faster.

The setting belongs to the process. So a product that needs one or the other sets it under a lock while it is launched,
and no thread gets the setting of another.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch

_LOCK = threading.RLock()


def full_products(device: torch.device) -> AbstractContextManager[None]:
    """A context in which fp32 products on `device` are full fp32."""
    return _products(device, "ieee")


def fast_products(device: torch.device, weights: torch.dtype) -> AbstractContextManager[None]:
    """A context in which fp32 products on `device` may be TF32: where `weights` are coarser than that anyway."""
    return _products(device, "tf32" if weights == torch.bfloat16 else "ieee")


def _products(device: torch.device, precision: Literal["ieee", "tf32"]) -> AbstractContextManager[None]:
    if device.type != "cuda" or torch.compiler.is_compiling():
        return nullcontext()
    return _set(precision)


@contextmanager
def _set(precision: Literal["ieee", "tf32"]) -> Iterator[None]:
    settings = torch.backends.cuda.matmul
    with _LOCK:
        before = settings.fp32_precision
        settings.fp32_precision = precision
        try:
            yield
        finally:
            settings.fp32_precision = before
