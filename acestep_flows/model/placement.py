"""The device and the precision of the weights."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from acestep_flows.errors import InputError
from acestep_flows.lazy_imports import garbage_collection_paused

log = logging.getLogger(__name__)

Dtype = Literal["float32", "bfloat16"]
Products = Literal["auto", "torch", "onednn"]


@dataclass(frozen=True)
class Placement:
    """A torch device, a compute dtype, whether to run `torch.compile` over the denoiser, and whether it multiplies fp8.

    The dtype is part of every cache key (`numerics`). Latents and sampling are fp32 for every dtype.

    Attributes:
        products: who makes the denoiser's large products on a processor: torch itself, or oneDNN with packed weights;
            "auto" is the faster one. Results differ in last digits, as those of two machines do.
    """

    device: str = "cpu"
    dtype: Dtype = "float32"
    compile: bool = False
    fp8: bool = False
    products: Products = "auto"

    def with_products(self, products: Products) -> Placement:
        """This placement, with `products` if it leaves them open."""
        return replace(self, products=products) if self.products == "auto" else self

    @property
    def numerics(self) -> str:
        """Name of the numerics policy, part of cache keys: results are comparable only under the same policy."""
        kind = self.device.split(":")[0]
        return f"{kind}-{self.dtype}{'-compiled' if self.compile else ''}{'-fp8' if self.fp8 else ''}"


@lru_cache(maxsize=8)
def has_fast_bfloat16(device: str) -> bool:
    """Whether `device` multiplies bfloat16 faster than float32.

    On a processor without bfloat16 instructions a product takes dozens of times as long as in float32.
    """
    import torch

    kind = torch.device(device).type
    if kind == "cpu":
        return any(available for name, available in torch.cpu.get_capabilities().items() if "bf16" in name)
    return kind == "cuda" and torch.cuda.is_bf16_supported()


def choose_placement(device: str = "auto", dtype: str = "auto", compile: bool = False) -> Placement:
    """The placement for the options of the command line.

    Args:
        device: "cpu", "cuda", "cuda:N" or "mps"; "auto" takes a GPU where there is one.
        dtype: "float32" or "bfloat16"; "auto" is bfloat16 on CUDA, else float32.
        compile: whether to compile the denoiser.

    Raises:
        InputError: this machine lacks the device.
    """
    with garbage_collection_paused():
        import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        device = "cuda" if available["cuda"] else "mps" if available["mps"] else "cpu"
    kind, _, index = device.partition(":")
    usable = [name for name, usable in available.items() if usable]
    if not available.get(kind) or (index and not (index.isdigit() and kind == "cuda")):
        raise InputError(f"no device {device!r}", where="--device", allowed=", ".join(["auto", *usable]))
    if index and int(index) >= torch.cuda.device_count():
        raise InputError(
            f"no device {device!r}", where="--device", allowed=f"cuda:0 to cuda:{torch.cuda.device_count() - 1}"
        )
    if dtype == "auto":
        dtype = "bfloat16" if kind == "cuda" else "float32"
    elif dtype == "bfloat16" and not has_fast_bfloat16(device):
        log.warning("%s has no fast bfloat16 on this machine: float32 can be many times faster", kind)
    return Placement(device, "bfloat16" if dtype == "bfloat16" else "float32", compile)
