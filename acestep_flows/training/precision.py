"""In what precision a training computes: bfloat16 where the device multiplies it fast, float32 elsewhere.

A processor without instructions for bfloat16 does not merely gain nothing by it: its matrix products take dozens of
times as long as in float32. Weights, optimiser and losses are float32 in any case.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import torch

Precision = Literal["auto", "bfloat16", "float32"]


def bfloat16_pays(device: str, precision: Precision = "auto") -> bool:
    """Whether `device` is to compute in bfloat16; "auto" asks what it can do."""
    if precision != "auto":
        return precision == "bfloat16"
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported()
    return kind == "cpu" and _processor_multiplies_bfloat16()


def computing(device: str, precision: Precision = "auto") -> Any:
    """The context in which networks on `device` compute."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bfloat16_pays(device, precision))


@lru_cache(maxsize=1)
def _processor_multiplies_bfloat16() -> bool:
    return any(there for name, there in torch.cpu.get_capabilities().items() if "bf16" in name)
