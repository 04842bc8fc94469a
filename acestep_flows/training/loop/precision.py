"""The compute dtype of training: bfloat16 where the device is fast at it, else float32.

Weights, optimiser state and losses are always float32.
"""

from __future__ import annotations

from typing import Any, Literal

import torch

from acestep_flows.model.placement import Dtype, has_fast_bfloat16

Precision = Literal["auto", "bfloat16", "float32"]


def choose_dtype(device: str, precision: Precision = "auto") -> Dtype:
    """The compute dtype on `device` that `precision` asks for."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_fast_bfloat16(device) else "float32"


def autocast(device: str, precision: Precision = "auto") -> Any:
    """The autocast context in which networks on `device` compute."""
    low = choose_dtype(device, precision) == "bfloat16"
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=low)
