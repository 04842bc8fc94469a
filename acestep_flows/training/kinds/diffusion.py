"""Train the diffusion transformer by flow matching on encoded songs (spec 05 section 2).

The lyric encoder and the condition projections are in the same weights file and are trained too. The text encoder is
frozen, as for the published model, or trained as well (`train_text_encoder`), as a model from scratch needs.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from acestep_flows.model.checkpoint import TOKENIZER
from acestep_flows.model.layout import TEXT_ENCODER, TRANSFORMER
from acestep_flows.training.kinds.alignment import Alignment, RepaSettings
from acestep_flows.training.kinds.song_batch import SongBatch
from acestep_flows.training.kinds.song_task import SongRecipe, SongTask
from acestep_flows.training.loop.export_part import write_part


class DiffusionRecipe(SongRecipe):
    """Recipe of the diffusion transformer, with the lyric encoder and the condition projections."""

    kind: Literal["diffusion"] = "diffusion"
    train_text_encoder: bool = Field(False, description="Train the text encoder too.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of the lyric encoder.")
    repa: RepaSettings | None = Field(None, description="Audio teachers to align hidden states with.")


RECIPE = DiffusionRecipe


class DiffusionTask(SongTask):
    """Trains all weights of the transformer's file, and the text encoder where the recipe asks for it."""

    def __init__(self, recipe: DiffusionRecipe, device: str) -> None:
        super().__init__(recipe, device)
        self._recipe = recipe
        self.alignment: Alignment | None = None
        if recipe.repa is not None:
            self.alignment = Alignment.load(recipe.repa, self.checkpoint, self.songs, device)
        for module in self.modules().values():
            module.requires_grad_(True)
        for part in self.networks.lyric_encoder.modules():
            if isinstance(part, nn.Dropout):
                part.p = recipe.dropout

    def modules(self) -> dict[str, nn.Module]:
        text = {"text_encoder": self.networks.text} if self._recipe.train_text_encoder else {}
        heads = {"repa": self.alignment.heads} if self.alignment else {}
        return self.networks.published | text | heads

    def batch(self, index: int) -> SongBatch:
        """Batch number `index`, with its audio where there are teachers."""
        batch = super().batch(index)
        if self.alignment is None:
            return batch
        return dataclasses.replace(batch, teacher_audio=self.alignment.audio(self._batches.batch(index)))

    def loss(self, batch: SongBatch) -> dict[str, Tensor]:
        """The flow-matching loss, and the distance to each teacher."""
        alignment = self.alignment
        if alignment is None or batch.teacher_audio is None:
            return super().loss(batch)
        levels, noise = self.draw(batch)
        flow, states = self.loss_and_states(batch, levels, noise, alignment.depths)
        loss = alignment.loss(flow, states, batch.lengths, batch.teacher_audio)
        return {"loss": loss.total, "flow": loss.denoising, **loss.alignment}

    def export(self, folder: Path) -> None:
        """Write `folder/ace_step_transformer/`, and `folder/umt5-base/` where the text encoder was trained."""
        networks, checkpoint = self.networks, self.checkpoint
        heads = self.alignment.tensors() if self.alignment else {}
        write_part(folder, TRANSFORMER, checkpoint.config(TRANSFORMER), networks.transformer_tensors() | heads)
        if self._recipe.train_text_encoder:
            config = checkpoint.config(TEXT_ENCODER)
            part = write_part(folder, TEXT_ENCODER, config, networks.text_tensors(), dtype=torch.float32)
            shutil.copyfile(checkpoint.file(TEXT_ENCODER, TOKENIZER), part / TOKENIZER)


def build(recipe: DiffusionRecipe, device: str) -> DiffusionTask:
    """Make the task of `recipe`."""
    return DiffusionTask(recipe, device)
