"""What a device is good at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from acestep_flows.model.placement import bfloat16_pays


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    bfloat16_pays.cache_clear()
    yield
    bfloat16_pays.cache_clear()


@pytest.mark.parametrize("there", [True, False])
def test_a_processor_is_fast_at_what_it_has_instructions_for(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": there, "amx_bf16": False})
    assert bfloat16_pays("cpu") is there


def test_this_processor_can_be_asked() -> None:
    assert bfloat16_pays("cpu") in (True, False)


def test_other_devices_are_not_trusted_with_it() -> None:
    assert not bfloat16_pays("mps")
