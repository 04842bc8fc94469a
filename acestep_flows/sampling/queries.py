"""Questions to the network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from acestep_flows.values import LATENT_CHANNELS, LATENT_HEIGHT

BranchName = Literal["conditional", "null", "text_only", "source", "source_null", "target", "target_null"]
"""The conditions of a query; `branches.py` says what each branch consists of."""


@dataclass(frozen=True, eq=False)
class Query:
    """One question to the network.

    Attributes:
        latents: (8, 16, T), float32; T may differ from call to call.
        timestep: 0 .. 1000.
        branch: the conditions that the velocity is predicted under.
        erg_temperature: factor on the attention queries of the late blocks (ERG); 1 means none.
    """

    latents: Tensor
    timestep: float
    branch: BranchName
    erg_temperature: float = 1.0

    @property
    def frames(self) -> int:
        return self.latents.shape[-1]


@dataclass(frozen=True, eq=False)
class JointQuery(Query):
    """A query of a song whose latents lie in a batch with those of others: it has only their shape.

    Attributes:
        ask: which of the song's `JointStep.asks` it is about.
    """

    ask: int = 0

    @classmethod
    def of(
        cls, frames: int, timestep: float, branch: BranchName, erg_temperature: float = 1.0, ask: int = 0
    ) -> JointQuery:
        """A query about latents of `frames`."""
        return cls(_shape_of_latents(frames), timestep, branch, erg_temperature, ask)


@lru_cache(maxsize=256)
def _shape_of_latents(frames: int) -> Tensor:
    return torch.empty(LATENT_CHANNELS, LATENT_HEIGHT, frames, device="meta")
