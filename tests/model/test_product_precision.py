"""The precision of fp32 products is set while they are launched, by one thread at a time, and put back."""

from __future__ import annotations

import threading

import pytest
import torch

from acestep_flows.model.product_precision import fast_products, full_products

CUDA = torch.device("cuda")


def now() -> str:
    return str(torch.backends.cuda.matmul.fp32_precision)


def test_the_setting_holds_inside_and_is_put_back() -> None:
    before = now()
    with fast_products(CUDA, torch.bfloat16):
        assert now() == "tf32"
        with full_products(CUDA):
            assert now() == "ieee"
        assert now() == "tf32"
    with fast_products(CUDA, torch.float32):
        assert now() == "ieee"
    assert now() == before


def test_it_is_put_back_after_an_error() -> None:
    before = now()
    with pytest.raises(ValueError, match="broken"), full_products(CUDA):
        raise ValueError("broken")
    assert now() == before


@pytest.mark.parametrize("device", ["cpu", "meta", "mps"])
def test_other_devices_have_no_such_setting(device: str) -> None:
    before = now()
    with fast_products(torch.device(device), torch.bfloat16):
        assert now() == before


def test_no_thread_gets_the_setting_of_another() -> None:
    wrong: list[str] = []

    def work(fast: bool) -> None:
        for _ in range(300):
            with fast_products(CUDA, torch.bfloat16) if fast else full_products(CUDA):
                if now() != ("tf32" if fast else "ieee"):
                    wrong.append(now())

    threads = [threading.Thread(target=work, args=(index % 2 == 0,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
