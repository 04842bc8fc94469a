"""In what precision a training computes: bfloat16 where the device is fast at it, float32 elsewhere.

Weights, optimiser and losses are float32 in any case.
"""

from __future__ import annotations

from typing import Any, Literal

import torch

from acestep_flows.model.placement import Dtype, has_fast_bfloat16

Precision = Literal["auto", "bfloat16", "float32"]


def chosen(device: str, precision: Precision = "auto") -> Dtype:
    """The dtype that `precision` means on `device`."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_fast_bfloat16(device) else "float32"


def computing(device: str, precision: Precision = "auto") -> Any:
    """The context in which networks on `device` compute."""
    low = chosen(device, precision) == "bfloat16"
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=low)
