"""The choice of device and precision."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from acestep_flows.errors import InputError
from acestep_flows.model import placement
from acestep_flows.model.placement import choose_placement, has_fast_bfloat16


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    has_fast_bfloat16.cache_clear()
    yield
    has_fast_bfloat16.cache_clear()


@pytest.mark.parametrize("supported", [True, False])
def test_bfloat16_is_fast_on_a_processor_with_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, supported: bool
) -> None:
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": supported, "amx_bf16": False}
    )
    assert has_fast_bfloat16("cpu") is supported


def test_this_processor_has_an_answer() -> None:
    assert has_fast_bfloat16("cpu") in (True, False)


def test_bfloat16_counts_as_slow_on_mps() -> None:
    assert not has_fast_bfloat16("mps")


def test_the_device_is_chosen_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_placement().numerics == "cpu-float32"
    assert choose_placement("cpu", "bfloat16", compile=True).numerics == "cpu-bfloat16-compiled"
    for device in ("cuda", "cuda:0", "mps", "cpu:1", "tpu", ""):
        with pytest.raises(InputError, match=r"--device: no device .*allowed: auto, cpu"):
            choose_placement(device)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_placement().numerics == "cuda-bfloat16"
    assert choose_placement("cuda:1", "float32").device == "cuda:1"
    with pytest.raises(InputError, match="cuda:0 to cuda:1"):
        choose_placement("cuda:2")


@pytest.mark.parametrize("fast", [True, False])
def test_slow_bfloat16_is_used_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fast: bool
) -> None:
    monkeypatch.setattr(placement, "has_fast_bfloat16", lambda device: fast)
    assert choose_placement("cpu", "bfloat16").dtype == "bfloat16"
    assert [record.message.split(":")[0] for record in caplog.records] == (
        [] if fast else ["cpu has no fast bfloat16 on this machine"]
    )
