"""What trainings over encoded songs have in common: songs, what they are told, one noise level per row.

A kind of training says which part of a song is learnt and under which words (`part`), what is trained (`modules`),
and what comes of it (`export`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from acestep_flows.errors import InputError
from acestep_flows.model.checkpoint import LYRIC_VOCAB, Checkpoint
from acestep_flows.model.layout import TEXT_ENCODER, TRANSFORMER
from acestep_flows.sampling.schedule import TRAINING_STEPS
from acestep_flows.settings import read_settings
from acestep_flows.training.data.batches import Crop
from acestep_flows.training.data.encoded import MIX, EncodedSet, EncodedSong
from acestep_flows.training.data.settings import DataSettings
from acestep_flows.training.kinds import training_forward
from acestep_flows.training.kinds.alignment import Heard
from acestep_flows.training.kinds.conditions import INSTRUMENTAL, Blanks, ConditionSettings, LyricIds, pad_rows, prompt
from acestep_flows.training.kinds.flow import FlowSettings, draw_levels, flow_loss
from acestep_flows.training.kinds.networks import TrainingNetworks, WordTokens
from acestep_flows.training.kinds.objective import add_noise
from acestep_flows.training.kinds.preview import PreviewSettings, measure, render_songs
from acestep_flows.training.loop.content_stamp import json_digest
from acestep_flows.training.loop.precision import autocast
from acestep_flows.training.loop.recipe import TrainingRecipe


class SongRecipe(TrainingRecipe):
    """What every recipe over encoded songs has."""

    checkpoint: Path = Field(description="The checkpoint to begin with: a folder in the published layout.")
    lyric_vocab: Path | None = Field(None, description="The lyric vocabulary, where the checkpoint has none.")
    data: DataSettings
    conditions: ConditionSettings = ConditionSettings()
    flow: FlowSettings = FlowSettings()
    preview: PreviewSettings = PreviewSettings()
    tellings: int | None = Field(
        None, gt=0, description="Ways a song is told at most: its prompts, and parts. Absent: another each time."
    )
    text_cache: int = Field(256, ge=0, description="MiB of a frozen text encoder's states that are kept in memory.")


@dataclass(frozen=True)
class SongTarget:
    """What is learnt of a song at one step: a track, under a prompt and lyrics, along with another track."""

    target: str
    prompt: str
    lyrics: str
    control: str | None = None


@dataclass(frozen=True)
class SongBatch:
    """Songs to learn from in one step.

    Attributes:
        data: (B, 8, 16, T) latents, zeros beyond a row's end.
        lengths: frames of each row; None where all have T.
        words: what the rows are told.
        control: (B, 8, 16, T) latents of the tracks to play along with, for control branches.
        heard: what audio teachers hear of the rows.
    """

    data: Tensor
    lengths: tuple[int, ...] | None
    words: WordTokens
    control: Tensor | None = None
    heard: Heard | None = None

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
        self.checkpoint = Checkpoint.open(recipe.checkpoint, recipe.lyric_vocab, cache=read_settings().cache)
        torch.manual_seed(recipe.seed)
        self.networks = TrainingNetworks.load(self.checkpoint, device, recipe.text_cache * 2**20)
        taken = [index for index, song in enumerate(self.songs.songs) if recipe.data.takes(song)]
        if not taken:
            raise InputError(f"no song is tagged {' or '.join(recipe.data.tagged or [])}", where="data.tagged")
        usable = [index for index in taken if self.usable(self.songs.songs[index])]
        if not usable:
            raise InputError("no song has the tracks that are to be learnt", where=str(recipe.data.encoded))
        learnt, self.held_out = split(usable, recipe.data.held_out)
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

    def computing(self) -> Any:
        """The context in which the network computes."""
        return autocast(self.device, self._settings.loop.precision)

    def batch(self, index: int) -> SongBatch:
        """The songs of step `index`, cut, told and blanked."""
        crops = self._batches.batch(index)
        random = np.random.default_rng([self._settings.seed, 2, index])
        return self.assemble(crops, random, Blanks.draw(len(crops), self._settings.conditions, random))

    def assemble(self, crops: Sequence[Crop], random: np.random.Generator, blanks: Blanks) -> SongBatch:
        """A batch of `crops`."""
        parts = [self.part(self.songs.songs[crop.song], self._telling(crop.song, random)) for crop in crops]
        lengths = tuple(crop.frames for crop in crops)
        return SongBatch(
            self.latents(crops, [part.target for part in parts]),
            lengths if min(lengths) < max(lengths) else None,
            self.words(parts, blanks),
            self.control(crops, parts),
        )

    def _telling(self, song: int, random: np.random.Generator) -> np.random.Generator:
        """What decides how `song` is told this time."""
        settings = self._settings
        if settings.tellings is None:
            return random
        return np.random.default_rng([settings.seed, 4, song, int(random.integers(settings.tellings))])

    def song_batch(self, noisy: Tensor, words: WordTokens, control: Tensor | None) -> SongBatch:
        """A batch of whole rows, for sampling."""
        return SongBatch(noisy, None, words, control)

    def usable(self, song: EncodedSong) -> bool:
        """Whether there is anything to learn from `song`."""
        return MIX in song.tracks

    def part(self, song: EncodedSong, random: np.random.Generator) -> SongTarget:
        """What is learnt of `song` this time."""
        settings = self._settings.conditions
        marked = not song.lyrics and random.random() < settings.mark_instrumental
        lyrics = INSTRUMENTAL if marked else song.lyrics
        return SongTarget(MIX, prompt(song.tags, song.recaptions, settings, random), lyrics)

    def control(self, crops: Sequence[Crop], parts: Sequence[SongTarget]) -> Tensor | None:
        """The tracks to play along with, (B, 8, 16, T)."""
        tracks = [part.control for part in parts if part.control is not None]
        return self.latents(crops, tracks) if tracks else None

    def latents(self, crops: Sequence[Crop], tracks: Sequence[str]) -> Tensor:
        """Latents (B, 8, 16, T) of a track of each crop, zeros beyond its end."""
        width = max(crop.frames for crop in crops)
        rows = np.zeros((len(crops), 8, 16, width), np.float32)
        for row, crop, track in zip(rows, crops, tracks, strict=True):
            row[..., : crop.frames] = self.songs.latents(crop.song, track, crop.start, crop.frames)
        return torch.from_numpy(rows)

    def words(self, parts: Sequence[SongTarget], blanks: Blanks) -> WordTokens:
        """Prompts and lyrics as token ids."""
        text_ids, text_mask = self.networks.text_encoder.tokenize([part.prompt for part in parts])
        ids, masks = zip(*(self._lyric_ids.of(part.lyrics) for part in parts), strict=True)
        lyric_ids, lyric_mask = (torch.from_numpy(pad_rows(rows)) for rows in (ids, masks))
        return WordTokens(text_ids, text_mask, lyric_ids, lyric_mask, blanks)

    def content(self) -> Mapping[str, str]:
        """Of the networks and vocabulary that it begins with, and of the songs."""
        networks = [self.checkpoint.digest(part) for part in (TRANSFORMER, TEXT_ENCODER)]
        vocabulary = self.checkpoint.digest(LYRIC_VOCAB)
        return {"checkpoint": json_digest(networks), "lyric_vocab": vocabulary, "data.encoded": self.songs.digest}

    def describe(self, index: int) -> str:
        """The songs of a batch, by key."""
        keys = [self.songs.songs[crop.song].key for crop in self._batches.batch(index)]
        return "songs " + ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")

    def loss(self, batch: SongBatch) -> dict[str, Tensor]:
        """Flow matching at one noise level per row."""
        return {"loss": self.loss_at(batch, *self.draw(batch))}

    def draw(self, batch: SongBatch) -> tuple[Tensor, Tensor]:
        """Noise levels (B,) and noise (B, 8, 16, T), from torch's own generators."""
        levels = draw_levels(len(batch.data), self._settings.flow).to(self.device)
        return levels, torch.randn_like(batch.data).to(self.device)

    def loss_at(self, batch: SongBatch, levels: Tensor, noise: Tensor) -> Tensor:
        """The loss at given noise levels (B,) and noise (B, 8, 16, T)."""
        return self.loss_and_states(batch, levels, noise)[0]

    def loss_and_states(
        self, batch: SongBatch, levels: Tensor, noise: Tensor, depths: Collection[int] = ()
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """The same, and the hidden states (B, T, D) after the blocks `depths`."""
        data = batch.data.to(self.device)
        noisy = add_noise(data, noise, levels)
        velocity, states = self.predict(batch, noisy, levels, depths)
        loss = flow_loss(velocity, noisy, data, noise, levels, batch.mask.to(self.device), self._settings.flow)
        return loss, states

    def velocity(self, batch: SongBatch, noisy: Tensor, levels: Tensor) -> Tensor:
        """What the network predicts for a noisy batch."""
        return self.predict(batch, noisy, levels)[0]

    def predict(
        self, batch: SongBatch, noisy: Tensor, levels: Tensor, depths: Collection[int] = ()
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """The velocity for a noisy batch, and hidden states after the blocks `depths`."""
        checkpointing = self._settings.loop.gradient_checkpointing and torch.is_grad_enabled()
        condition = self.networks.condition(batch.words.to(self.device), checkpointing=checkpointing)
        control, scale = self.control_tokens(batch)
        return training_forward.predict(
            self.networks.transformer,
            noisy,
            TRAINING_STEPS * levels,
            condition,
            lengths=batch.lengths,
            control=control,
            control_scale=scale,
            depths=depths,
            checkpointing=checkpointing,
        )

    def control_tokens(self, batch: SongBatch) -> tuple[Tensor | None, Tensor | float]:
        """What a control branch makes of the batch's control tracks, (B, T, D), and its strength."""
        return None, 1.0

    def modules(self) -> dict[str, nn.Module]:
        """What is trained."""
        raise NotImplementedError

    def export(self, folder: Path) -> None:
        """Write it."""
        raise NotImplementedError

    def preview(self, folder: Path, step: int) -> Mapping[str, float]:
        """Losses on held-out songs, with their own words and with others'; and some songs to hear."""
        measured = measure(self, self._settings.preview, self._settings.seed)
        render_songs(self, self._settings.preview, folder)
        return measured


def split(songs: Sequence[int], held_out: int) -> tuple[list[int], list[int]]:
    """Songs to learn from, and `held_out` others: every fourth from the first on, and so the same when a set grows."""
    kept_back = songs[::4][: min(held_out, len(songs) // 4)]
    return sorted(set(songs) - set(kept_back)), list(kept_back)
