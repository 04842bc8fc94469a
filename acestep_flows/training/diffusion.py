"""Train the diffusion transformer by flow matching on encoded songs (spec 05 section 2).

The lyric encoder and the condition projections, which are in the same weights file, are trained with it. The text
encoder is frozen, as it was for the published model, or learns along (`train_text_encoder`), as a new one must.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from acestep_flows.model.checkpoint import TOKENIZER
from acestep_flows.model.layout import TEXT_ENCODER, TRANSFORMER
from acestep_flows.training.parts import write_part
from acestep_flows.training.songs import SongRecipe, SongTask


class DiffusionRecipe(SongRecipe):
    """Recipe of the transformer and all that belongs to it."""

    kind: Literal["diffusion"] = "diffusion"
    train_text_encoder: bool = Field(False, description="Train the text encoder along.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of the lyric encoder.")


RECIPE = DiffusionRecipe


class DiffusionTask(SongTask):
    """All weights of the transformer's file, and the text encoder's on request."""

    def __init__(self, recipe: DiffusionRecipe, device: str) -> None:
        super().__init__(recipe, device)
        self._recipe = recipe
        for module in self.modules().values():
            module.requires_grad_(True)
        for part in self.networks.lyric_encoder.modules():
            if isinstance(part, nn.Dropout):
                part.p = recipe.dropout

    def modules(self) -> dict[str, nn.Module]:
        text = {"text_encoder": self.networks.text} if self._recipe.train_text_encoder else {}
        return self.networks.published | text

    def export(self, folder: Path) -> None:
        """`folder/ace_step_transformer/`, and `folder/umt5-base/` where it was trained."""
        networks, checkpoint = self.networks, self.checkpoint
        write_part(folder, TRANSFORMER, checkpoint.config(TRANSFORMER), networks.transformer_tensors())
        if self._recipe.train_text_encoder:
            config = checkpoint.config(TEXT_ENCODER)
            part = write_part(folder, TEXT_ENCODER, config, networks.text_tensors(), dtype=torch.float32)
            shutil.copyfile(checkpoint.file(TEXT_ENCODER, TOKENIZER), part / TOKENIZER)


def build(recipe: DiffusionRecipe, device: str) -> DiffusionTask:
    """The task of `recipe`."""
    return DiffusionTask(recipe, device)
