"""Where and in which precision weights are placed."""

from __future__ import annotations

from dataclasses import dataclass
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
