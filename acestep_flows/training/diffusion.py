"""Train the diffusion transformer by flow matching on encoded songs (spec 05 section 2).

The lyric encoder and the condition projections, which are in the same weights file, are trained with it. The text
encoder is frozen, as it was for the published model, or learns along (`train_text_encoder`), as a new one must.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from acestep_flows.model.checkpoint import TOKENIZER, Checkpoint
from acestep_flows.model.layout import TEXT_ENCODER, TRANSFORMER
from acestep_flows.sampling.schedule import TRAINING_STEPS
from acestep_flows.training import forward
from acestep_flows.training.conditions import Blanks, ConditionSettings, LyricIds, pad_rows, prompt
from acestep_flows.training.data.batches import Crop
from acestep_flows.training.data.encoded import MIX, EncodedSet, EncodedSong
from acestep_flows.training.data.settings import DataSettings
from acestep_flows.training.flow import FlowSettings, draw_levels, flow_loss
from acestep_flows.training.networks import Networks, Words
from acestep_flows.training.objective import add_noise
from acestep_flows.training.parts import write_part
from acestep_flows.training.preview import PreviewSettings, measure, render_songs
from acestep_flows.training.recipe import Recipe


class SongRecipe(Recipe):
    """What every recipe over encoded songs has."""

    checkpoint: Path = Field(description="The checkpoint to begin with: a folder in the published layout.")
    lyric_vocab: Path | None = Field(None, description="The lyric vocabulary, where the checkpoint has none.")
    data: DataSettings
    conditions: ConditionSettings = ConditionSettings()
    flow: FlowSettings = FlowSettings()
    preview: PreviewSettings = PreviewSettings()


class DiffusionRecipe(SongRecipe):
    """Recipe of the transformer and all that belongs to it."""

    kind: Literal["diffusion"] = "diffusion"
    train_text_encoder: bool = Field(False, description="Train the text encoder along.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout of the lyric encoder.")


RECIPE = DiffusionRecipe


@dataclass(frozen=True)
class SongBatch:
    """Songs to learn from in one step.

    Attributes:
        data: (B, 8, 16, T) latents, zeros beyond a row's end.
        lengths: frames of each row; None where all have T.
        words: what the rows are told.
        control: (B, 8, 16, T) latents of the tracks to play along with, for control branches.
    """

    data: Tensor
    lengths: tuple[int, ...] | None
    words: Words
    control: Tensor | None = None

    @property
    def mask(self) -> Tensor:
        """(B, T), 1 on real frames."""
        rows, width = len(self.data), self.data.shape[-1]
        if self.lengths is None:
            return torch.ones(rows, width)
        return (torch.arange(width) < torch.tensor(self.lengths)[:, None]).float()


class SongTask:
    """What diffusion, LoRA and control training share: songs, conditions, one noise level per row."""

    def __init__(self, recipe: SongRecipe, device: str) -> None:
        self.device = device
        self.songs = EncodedSet(recipe.data.encoded)
        self.checkpoint = Checkpoint.open(recipe.checkpoint, recipe.lyric_vocab)
        torch.manual_seed(recipe.seed)
        self.networks = Networks.load(self.checkpoint, device)
        learnt, self.held_out = self.songs.split(recipe.data.held_out)
        self._settings = recipe
        self._batches = recipe.data.batches(self.songs, learnt, recipe.seed)
        self._lyric_ids = LyricIds(self.networks.lyric_tokenizer, recipe.conditions)

    @property
    def crop(self) -> int | None:
        """Latent frames of a song at most."""
        return self._settings.data.crop

    @property
    def budget(self) -> int:
        """Latent frames of a batch."""
        return self._settings.data.frames

    @property
    def bfloat16(self) -> bool:
        """Whether the network computes in bfloat16."""
        return self._settings.loop.precision == "bfloat16"

    def batch(self, index: int) -> SongBatch:
        """The songs of step `index`, cut, told and blanked."""
        crops = self._batches.batch(index)
        random = np.random.default_rng([self._settings.seed, 2, index])
        return self.assemble(crops, random, Blanks.draw(len(crops), self._settings.conditions, random))

    def assemble(self, crops: Sequence[Crop], random: np.random.Generator, blanks: Blanks) -> SongBatch:
        """A batch of `crops`."""
        songs = [self.songs.songs[crop.song] for crop in crops]
        targets = [self.target(song, random) for song in songs]
        data = self.latents(crops, targets)
        lengths = tuple(crop.frames for crop in crops)
        words = self.words([self.told(song, target, random) for song, target in zip(songs, targets, strict=True)],
                           songs, random, blanks)  # fmt: skip
        return SongBatch(data, lengths if min(lengths) < max(lengths) else None, words, self.control(crops, targets))

    def song_batch(self, noisy: Tensor, words: Words, control: Tensor | None) -> SongBatch:
        """A batch of whole rows, for sampling."""
        return SongBatch(noisy, None, words, control)

    def target(self, song: EncodedSong, random: np.random.Generator) -> str:
        """The track of `song` to learn."""
        return MIX

    def told(self, song: EncodedSong, target: str, random: np.random.Generator) -> str:
        """The prompt for that track."""
        return prompt(song.tags, song.recaptions, self._settings.conditions, random)

    def control(self, crops: Sequence[Crop], targets: Sequence[str]) -> Tensor | None:
        """The tracks to play along with, (B, 8, 16, T)."""
        return None

    def latents(self, crops: Sequence[Crop], tracks: Sequence[str]) -> Tensor:
        """Latents (B, 8, 16, T) of a track of each crop, zeros beyond its end."""
        width = max(crop.frames for crop in crops)
        rows = np.zeros((len(crops), 8, 16, width), np.float32)
        for row, crop, track in zip(rows, crops, tracks, strict=True):
            row[..., : crop.frames] = self.songs.latents(crop.song, track, crop.start, crop.frames)
        return torch.from_numpy(rows)

    def words(
        self, prompts: list[str], songs: Sequence[EncodedSong], random: np.random.Generator, blanks: Blanks
    ) -> Words:
        """Prompts and the songs' lyrics as token ids."""
        text_ids, text_mask = self.networks.text_encoder.tokenize(prompts)
        ids, masks = zip(*(self._lyric_ids.of(song, random) for song in songs), strict=True)
        lyric_ids, lyric_mask = (torch.from_numpy(pad_rows(rows)) for rows in (ids, masks))
        return Words(text_ids, text_mask, lyric_ids, lyric_mask, blanks)

    def describe(self, index: int) -> str:
        """The songs of a batch, by key."""
        keys = [self.songs.songs[crop.song].key for crop in self._batches.batch(index)]
        return "songs " + ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")

    def loss(self, batch: SongBatch) -> dict[str, Tensor]:
        """Flow matching at one noise level per row."""
        levels = draw_levels(len(batch.data), self._settings.flow).to(self.device)
        return {"loss": self.loss_at(batch, levels, torch.randn_like(batch.data).to(self.device))}

    def loss_at(self, batch: SongBatch, levels: Tensor, noise: Tensor) -> Tensor:
        """The loss at given noise levels (B,) and noise (B, 8, 16, T)."""
        data = batch.data.to(self.device)
        noisy = add_noise(data, noise, levels)
        velocity = self.velocity(batch, noisy, levels)
        return flow_loss(velocity, noisy, data, noise, levels, batch.mask.to(self.device), self._settings.flow)

    def velocity(self, batch: SongBatch, noisy: Tensor, levels: Tensor) -> Tensor:
        """What the network predicts for a noisy batch."""
        condition = self.networks.condition(batch.words.to(self.device))
        return forward.predict(
            self.networks.transformer,
            noisy,
            TRAINING_STEPS * levels,
            condition,
            lengths=batch.lengths,
            checkpointing=self._settings.loop.gradient_checkpointing and torch.is_grad_enabled(),
        )[0]

    def preview(self, folder: Path, step: int) -> Mapping[str, float]:
        """Losses on held-out songs, with their own words and with others'; and some songs to hear."""
        measured = measure(self, self._settings.preview, self._settings.seed)
        render_songs(self, self._settings.preview, folder)
        return measured


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
