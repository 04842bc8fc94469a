"""REPA heads: align hidden states with the features of pretrained audio teachers (spec 01 section 7). Training only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep_flows.model.config import TransformerConfig
from acestep_flows.model.weights import PublishedPart


class RepaHeads(PublishedPart):
    """One projection head per teacher of `config.ssl_names`."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        wide = 2 * config.width
        self.projectors = nn.ModuleList(
            nn.Sequential(
                nn.Linear(config.width, wide), nn.SiLU(), nn.Linear(wide, wide), nn.SiLU(), nn.Linear(wide, out)
            )
            for out in config.ssl_latent_dims
        )

    def forward(self, hidden: Sequence[Tensor], teachers: Mapping[str, Sequence[Tensor]]) -> dict[str, Tensor]:
        """The mean distance (1 - cosine) to each teacher in `teachers`.

        Args:
            hidden: for each teacher of the config, the states (B, T, D) after its block of `ssl_encoder_depths`.
            teachers: features by the teacher's name, one (frames, width) per row. A teacher that is absent has no loss.

        Returns:
            Scalars by the teacher's name.
        """
        return {
            name: _distance(projector(states), teachers[name])
            for name, projector, states in zip(self.config.ssl_names, self.projectors, hidden, strict=True)
            if name in teachers
        }


def _distance(projected: Tensor, teacher: Sequence[Tensor]) -> Tensor:
    """1 - cosine, averaged over teacher frames, then rows; projected (B, T, w) is resampled to the teacher's frames."""
    rows = []
    for row, target in zip(projected, teacher, strict=True):
        stretched = F.interpolate(row.mT.unsqueeze(0), size=len(target), mode="linear", align_corners=False)[0].mT
        rows.append(1 - F.cosine_similarity(stretched, target, dim=-1, eps=1e-12).mean())
    return torch.stack(rows).mean()
