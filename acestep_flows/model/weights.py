"""Base classes of modules that are built without values and then get those of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import torch
from torch import nn

from acestep_flows.model.config import TransformerConfig
from acestep_flows.model.layout import TRANSFORMER

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.placement import Placement


class Embedding(nn.Embedding):
    """An embedding that draws no values where it has no memory: torch would load its compiler to draw them."""

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()


def random_table(rows: int, width: int) -> nn.Parameter:
    """A parameter (rows, width) of normal values, its rows of length 1 in the mean. On `meta` it has no values."""
    if torch.get_default_device().type == "meta":
        return nn.Parameter(torch.empty(rows, width))
    return nn.Parameter(torch.randn(rows, width) / width**0.5)


class PublishedPart(nn.Module):
    """A part of the transformer's weights file that loads alone: built from the config, read by its own names."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def load(cls, checkpoint: Checkpoint, placement: Placement) -> Self:
        """Read only this part's tensors and prepare the module for inference.

        Raises:
            CheckpointError: the config lacks a size, or the weights file lacks a tensor.
        """
        config = TransformerConfig.from_json(checkpoint.config(TRANSFORMER))
        with torch.device("meta"):
            module = cls(config)
        tensors = checkpoint.load(
            TRANSFORMER, module.state_dict().keys(), dtype=placement.dtype, device=placement.device
        )
        module.load_state_dict(tensors, assign=True)
        return module.requires_grad_(False).eval()
