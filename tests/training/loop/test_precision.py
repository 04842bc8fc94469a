"""Trainings compute in bfloat16 only where that is faster, unless they are told to."""

from __future__ import annotations

import pytest
import torch

from acestep_flows.training.loop import precision
from acestep_flows.training.loop.precision import chosen, computing


@pytest.mark.parametrize("pays", [True, False])
def test_the_device_decides_where_nobody_else_did(monkeypatch: pytest.MonkeyPatch, pays: bool) -> None:
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device: pays)
    assert chosen("cpu", "bfloat16") == "bfloat16"
    assert chosen("cpu", "float32") == "float32"
    assert chosen("cpu") == ("bfloat16" if pays else "float32")
    with computing("cpu"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if pays else torch.float32)
