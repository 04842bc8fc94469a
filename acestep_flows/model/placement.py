"""Where and in which precision weights are placed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from acestep_flows.errors import InputError
from acestep_flows.lazy_imports import uncollected

log = logging.getLogger(__name__)

Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Placement:
    """A torch device, a compute dtype, and whether to run `torch.compile` over the denoiser.

    The dtype is part of every cache key (`numerics`); latents and sampling stay fp32 in any case.
    """

    device: str = "cpu"
    dtype: Dtype = "float32"
    compile: bool = False

    @property
    def numerics(self) -> str:
        """The numerics policy: results are comparable only under the same one."""
        kind = self.device.split(":")[0]
        return f"{kind}-{self.dtype}{'-compiled' if self.compile else ''}"


@lru_cache(maxsize=8)
def bfloat16_pays(device: str) -> bool:
    """Whether `device` multiplies bfloat16 faster than float32.

    A processor without instructions for it does not merely gain nothing: products take dozens of times as long.
    """
    import torch

    kind = torch.device(device).type
    if kind == "cpu":
        return any(there for name, there in torch.cpu.get_capabilities().items() if "bf16" in name)
    return kind == "cuda" and torch.cuda.is_bf16_supported()


def choose_placement(device: str = "auto", dtype: str = "auto", compile: bool = False) -> Placement:
    """The placement that the words on the command line mean: a GPU where there is one, bfloat16 on CUDA.

    Raises:
        InputError: the device is not there.
    """
    with uncollected():
        import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        device = "cuda" if there["cuda"] else "mps" if there["mps"] else "cpu"
    kind, _, index = device.partition(":")
    usable = [name for name, is_there in there.items() if is_there]
    if not there.get(kind) or (index and not (index.isdigit() and kind == "cuda")):
        raise InputError(f"no device {device!r}", where="--device", allowed=", ".join(["auto", *usable]))
    if index and int(index) >= torch.cuda.device_count():
        raise InputError(
            f"no device {device!r}", where="--device", allowed=f"cuda:0 to cuda:{torch.cuda.device_count() - 1}"
        )
    if dtype == "auto":
        dtype = "bfloat16" if kind == "cuda" else "float32"
    elif dtype == "bfloat16" and not bfloat16_pays(device):
        log.warning("%s has no fast bfloat16 on this machine: float32 can be many times faster", kind)
    return Placement(device, "bfloat16" if dtype == "bfloat16" else "float32", compile)
