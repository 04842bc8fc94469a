"""Where and in which precision weights are placed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

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
