"""Which device and precision are chosen, and what a device is good at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from acestep_flows.errors import InputError
from acestep_flows.model import placement
from acestep_flows.model.placement import bfloat16_pays, choose_placement


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


def test_the_device_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize("pays", [True, False])
def test_a_precision_that_the_processor_is_slow_at_is_taken_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, pays: bool
) -> None:
    monkeypatch.setattr(placement, "bfloat16_pays", lambda device: pays)
    assert choose_placement("cpu", "bfloat16").dtype == "bfloat16"
    assert [record.message.split(":")[0] for record in caplog.records] == (
        [] if pays else ["cpu has no fast bfloat16 on this machine"]
    )
