"""Trainings compute in bfloat16 only where that is faster, unless they are told to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from acestep_flows.training import precision
from acestep_flows.training.precision import bfloat16_pays, computing


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """A processor with, or without, instructions for bfloat16."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": request.param})
    precision._processor_multiplies_bfloat16.cache_clear()
    yield
    precision._processor_multiplies_bfloat16.cache_clear()


@pytest.mark.parametrize("processor", [True, False], indirect=True, ids=["with", "without"])
def test_what_is_chosen_is_done(processor: None) -> None:
    assert bfloat16_pays("cpu", "bfloat16")
    assert not bfloat16_pays("cpu", "float32")


@pytest.mark.parametrize(("processor", "pays"), [(True, True), (False, False)], indirect=["processor"])
def test_else_the_processor_decides(processor: None, pays: bool) -> None:
    assert bfloat16_pays("cpu") is pays
    with computing("cpu"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if pays else torch.float32)


def test_this_processor_can_be_asked() -> None:
    assert bfloat16_pays("cpu") in (True, False)
