"""Training computes in bfloat16 only where that is faster, unless the recipe sets the dtype."""

from __future__ import annotations

import pytest
import torch

from acestep_flows.training.loop import precision
from acestep_flows.training.loop.precision import autocast, choose_dtype


@pytest.mark.parametrize("pays", [True, False])
def test_auto_depends_on_the_device(monkeypatch: pytest.MonkeyPatch, pays: bool) -> None:
    monkeypatch.setattr(precision, "has_fast_bfloat16", lambda device: pays)
    assert choose_dtype("cpu", "bfloat16") == "bfloat16"
    assert choose_dtype("cpu", "float32") == "float32"
    assert choose_dtype("cpu") == ("bfloat16" if pays else "float32")
    with autocast("cpu"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if pays else torch.float32)
