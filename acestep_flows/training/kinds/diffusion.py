"""Train the diffusion transformer by flow matching on encoded songs (spec 05 section 2).

The lyric encoder and the condition projections are in the same weights file and are trained too. The text encoder is
frozen, as for the published model, or trained as well (`train_text_encoder`), as a model from scratch needs.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from acestep_flows.model.checkpoint import TOKENIZER
from acestep_flows.model.control import ControlBranch
from acestep_flows.model.layout import TEXT_ENCODER, TRANSFORMER
from acestep_flows.training.data.encoded import BEAT, VOCAL, EncodedSong
from acestep_flows.training.kinds.alignment import Alignment, RepaSettings
from acestep_flows.training.kinds.beat_branch import BeatSettings, branch_tokens, save_branch, untrained_branch
from acestep_flows.training.kinds.conditions import prompt
from acestep_flows.training.kinds.fixed_rows import EMBEDDING, keep_rows, number_rows
from acestep_flows.training.kinds.projection import measure_projections
from acestep_flows.training.kinds.song_batch import SongBatch, SongTarget
from acestep_flows.training.kinds.song_task import SongRecipe, SongTask
from acestep_flows.training.loop.export_part import write_part

ALONE = "a cappella"
"""The tag of a voice alone."""
OF_A_VOICE = re.compile(r"vocal|bpm|major|minor")
"""The tags of a song that also hold for its voice alone."""


class DiffusionRecipe(SongRecipe):
    """Recipe of the diffusion transformer, with the lyric encoder and the condition projections."""

    kind: Literal["diffusion"] = "diffusion"
    train_text_encoder: bool = Field(False, description="Train the text encoder too.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of the lyric encoder.")
    beat: BeatSettings | None = Field(None, description="A control branch for beat tracks, trained along.")
    fixed_numbers: bool = Field(False, description="Keep the text encoder's embeddings of numbers as they begin.")
    voice: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the songs with a track 'vocal' that are learnt as that alone, tagged 'a cappella'.",
    )
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
        self.branch: ControlBranch | None = None
        if recipe.beat is not None:
            self.branch = untrained_branch(self.networks.transformer, recipe.beat, device)
        for module in self.modules().values():
            module.requires_grad_(True)
        if recipe.train_text_encoder and recipe.fixed_numbers:
            tokenizer = self.checkpoint.file(TEXT_ENCODER, TOKENIZER)
            keep_rows(self.networks.text.get_parameter(EMBEDDING), number_rows(tokenizer))
        for part in self.networks.lyric_encoder.modules():
            if isinstance(part, nn.Dropout):
                part.p = recipe.dropout

    def modules(self) -> dict[str, nn.Module]:
        text = {"text_encoder": self.networks.text} if self._recipe.train_text_encoder else {}
        heads = {"repa": self.alignment.heads} if self.alignment else {}
        branch = {"beat": self.branch} if self.branch else {}
        return self.networks.published | text | branch | heads

    def choose_target(self, song: EncodedSong, random: np.random.Generator) -> SongTarget:
        target, beat = super().choose_target(song, random), self._recipe.beat
        if VOCAL in song.tracks and random.random() < self._recipe.voice:
            tags = (ALONE, *(tag for tag in song.tags if OF_A_VOICE.search(tag)))
            words = prompt(tags, {}, self._recipe.conditions, random)
            target = dataclasses.replace(target, track=VOCAL, prompt=words)
        heard = beat is not None and BEAT in song.tracks and random.random() < beat.share
        return dataclasses.replace(target, control=BEAT) if heard else target

    def control_tokens(self, batch: SongBatch) -> tuple[Tensor | None, Tensor | float]:
        if self.branch is None or batch.control is None:
            return None, 1.0
        return branch_tokens(self.branch, batch, self.device)

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

    def preview(self, folder: Path, step: int) -> Mapping[str, float]:
        measurements, pairs = dict(super().preview(folder, step)), self._recipe.preview.pairs
        if pairs:
            measurements |= measure_projections(self, pairs, beats=self.branch is not None)
        return measurements

    def export(self, folder: Path) -> None:
        """Write `folder/ace_step_transformer/`, and what was trained with it: `umt5-base/`, `controls/beat/`."""
        networks, checkpoint = self.networks, self.checkpoint
        heads = self.alignment.tensors() if self.alignment else {}
        write_part(folder, TRANSFORMER, checkpoint.config(TRANSFORMER), networks.transformer_tensors() | heads)
        if self._recipe.train_text_encoder:
            config = checkpoint.config(TEXT_ENCODER)
            part = write_part(folder, TEXT_ENCODER, config, networks.text_tensors(), dtype=torch.float32)
            shutil.copyfile(checkpoint.file(TEXT_ENCODER, TOKENIZER), part / TOKENIZER)
        if self.branch is not None:
            save_branch(self.branch, folder)


def build(recipe: DiffusionRecipe, device: str) -> DiffusionTask:
    """Make the task of `recipe`."""
    return DiffusionTask(recipe, device)
