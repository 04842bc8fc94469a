"""The task that all training over encoded songs shares: batches, conditions, and the flow-matching loss.

A kind of training overrides what is learnt of a song (`choose_target`), which modules are trained (`modules`), and what
is written at the end (`export`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from acestep_flows.errors import InputError
from acestep_flows.model.checkpoint import LYRIC_VOCAB
from acestep_flows.model.layout import TEXT_ENCODER, TRANSFORMER
from acestep_flows.sampling.schedule import TRAINING_STEPS
from acestep_flows.training.data.batches import Crop
from acestep_flows.training.data.encoded import MIX, EncodedSet, EncodedSong
from acestep_flows.training.data.settings import DataSettings
from acestep_flows.training.kinds import training_forward
from acestep_flows.training.kinds.conditions import INSTRUMENTAL, Blanks, ConditionSettings, LyricIds, pad_rows, prompt
from acestep_flows.training.kinds.flow import FlowSettings, draw_levels, flow_loss
from acestep_flows.training.kinds.networks import TrainingNetworks, WordTokens
from acestep_flows.training.kinds.objective import add_noise
from acestep_flows.training.kinds.preview import PreviewSettings, measure, render_songs
from acestep_flows.training.kinds.song_batch import SongBatch, SongTarget
from acestep_flows.training.loop.content_stamp import json_digest
from acestep_flows.training.loop.precision import autocast
from acestep_flows.training.loop.recipe import TrainingRecipe
from acestep_flows.weights.choose import open_named


class SongRecipe(TrainingRecipe):
    """The fields of every recipe over encoded songs."""

    checkpoint: Path = Field(description="Checkpoint to start from: a folder, ORG/NAME, or 'embedded'.")
    lyric_vocab: Path | None = Field(None, description="File of the lyric vocabulary, where the checkpoint has none.")
    data: DataSettings
    conditions: ConditionSettings = ConditionSettings()
    flow: FlowSettings = FlowSettings()
    preview: PreviewSettings = PreviewSettings()
    tellings: int | None = Field(
        None, gt=0, description="Most variants of a song's target and prompt; absent: a new one each time."
    )
    text_cache: int = Field(256, ge=0, description="MiB of cached states of a frozen text encoder.")


class SongTask:
    """Base of diffusion, LoRA and control training. Every row of a batch has a noise level of its own.

    Attributes:
        device: where the networks compute.
        songs: the encoded songs.
        held_out: numbers of the songs kept out of training.
        checkpoint: the checkpoint that training starts from.
        networks: its networks.

    Raises:
        InputError: the checkpoint or the songs cannot be used, or no song is left to learn from.
    """

    def __init__(self, recipe: SongRecipe, device: str) -> None:
        self.device = device
        self.songs = EncodedSet(recipe.data.encoded)
        self.checkpoint = open_named(recipe.checkpoint, recipe.lyric_vocab)
        torch.manual_seed(recipe.seed)
        self.networks = TrainingNetworks.load(self.checkpoint, device, recipe.text_cache * 2**20)
        tagged = [index for index, song in enumerate(self.songs.songs) if recipe.data.takes(song)]
        if not tagged:
            raise InputError(f"no song is tagged {' or '.join(recipe.data.tagged or [])}", where="data.tagged")
        usable = [index for index in tagged if self.usable(self.songs.songs[index])]
        if not usable:
            raise InputError("no song has the tracks that are to be learnt", where=str(recipe.data.encoded))
        training_songs, self.held_out = split(usable, recipe.data.held_out)
        self._settings = recipe
        self._batches = recipe.data.batches(self.songs, training_songs, recipe.seed)
        self._lyric_ids = LyricIds(self.networks.lyric_tokenizer, recipe.conditions)

    @property
    def crop(self) -> int | None:
        """Most latent frames taken of a song; None takes whole songs."""
        return self._settings.data.crop

    @property
    def budget(self) -> int:
        """Most latent frames in a batch."""
        return self._settings.data.frames

    def autocast(self) -> Any:
        """The autocast context in which the networks compute."""
        return autocast(self.device, self._settings.loop.precision)

    def batch(self, index: int) -> SongBatch:
        """Batch number `index`: cropped songs with prompts and lyrics, some of these blanked."""
        crops = self._batches.batch(index)
        random = np.random.default_rng([self._settings.seed, 2, index])
        return self.assemble(crops, random, Blanks.draw(len(crops), self._settings.conditions, random))

    def assemble(self, crops: Sequence[Crop], random: np.random.Generator, blanks: Blanks) -> SongBatch:
        """Make a batch of `crops`. `random` chooses targets and prompts."""
        targets = [
            self.choose_target(self.songs.songs[crop.song], self._target_random(crop.song, random)) for crop in crops
        ]
        lengths = tuple(crop.frames for crop in crops)
        return SongBatch(
            self.latents(crops, [target.track for target in targets]),
            lengths if min(lengths) < max(lengths) else None,
            self.tokenize(targets, blanks),
            self.control(crops, targets),
            controlled=_controlled(targets),
        )

    def _target_random(self, song: int, random: np.random.Generator) -> np.random.Generator:
        """The generator that chooses the target and prompt of `song`: one of `tellings` many, if that is set."""
        settings = self._settings
        if settings.tellings is None:
            return random
        return np.random.default_rng([settings.seed, 4, song, int(random.integers(settings.tellings))])

    def song_batch(self, noisy: Tensor, words: WordTokens, control: Tensor | None) -> SongBatch:
        """A batch of rows without padding, for sampling. `noisy` is (B, 8, 16, T)."""
        return SongBatch(noisy, None, words, control)

    def usable(self, song: EncodedSong) -> bool:
        """Whether `song` has the tracks that this training needs."""
        return MIX in song.tracks

    def choose_target(self, song: EncodedSong, random: np.random.Generator) -> SongTarget:
        """Choose the track, prompt and lyrics to learn of `song` in one step."""
        settings = self._settings.conditions
        marks_instrumental = not song.lyrics and random.random() < settings.mark_instrumental
        lyrics = INSTRUMENTAL if marks_instrumental else song.lyrics
        return SongTarget(MIX, prompt(song.tags, song.recaptions, settings, random), lyrics)

    def control(self, crops: Sequence[Crop], targets: Sequence[SongTarget]) -> Tensor | None:
        """Latents (B, 8, 16, T) of the targets' control tracks, zeros for those without; None where all are."""
        tracks = [target.control for target in targets]
        return self.latents(crops, tracks) if any(track is not None for track in tracks) else None

    def latents(self, crops: Sequence[Crop], tracks: Sequence[str | None]) -> Tensor:
        """Latents (B, 8, 16, T) of one track of each crop, zeros beyond its end and for None."""
        width = max(crop.frames for crop in crops)
        rows = np.zeros((len(crops), 8, 16, width), np.float32)
        for row, crop, track in zip(rows, crops, tracks, strict=True):
            if track is None:
                continue
            row[..., : crop.frames] = self.songs.latents(crop.song, track, crop.start, crop.frames)
        return torch.from_numpy(rows)

    def tokenize(self, targets: Sequence[SongTarget], blanks: Blanks) -> WordTokens:
        """Prompts and lyrics of `targets` as token ids."""
        text_ids, text_mask = self.networks.text_encoder.tokenize([target.prompt for target in targets])
        ids, masks = zip(*(self._lyric_ids.of(target.lyrics) for target in targets), strict=True)
        lyric_ids, lyric_mask = (torch.from_numpy(pad_rows(rows)) for rows in (ids, masks))
        return WordTokens(text_ids, text_mask, lyric_ids, lyric_mask, blanks)

    def content(self) -> Mapping[str, str]:
        """Digests of the networks and the vocabulary that training starts from, and of the songs. Reads all latents."""
        networks = [self.checkpoint.digest(part) for part in (TRANSFORMER, TEXT_ENCODER)]
        vocabulary = self.checkpoint.digest(LYRIC_VOCAB)
        return {"checkpoint": json_digest(networks), "lyric_vocab": vocabulary, "data.encoded": self.songs.digest}

    def former_content(self) -> Mapping[str, str]:
        return {"data.encoded": self.songs.listing_digest}

    def describe(self, index: int) -> str:
        """The keys of the songs of batch number `index`, in words."""
        keys = [self.songs.songs[crop.song].key for crop in self._batches.batch(index)]
        return "songs " + ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")

    def loss(self, batch: SongBatch) -> dict[str, Tensor]:
        """The flow-matching loss at one noise level per row."""
        return {"loss": self.loss_at(batch, *self.draw(batch))}

    def draw(self, batch: SongBatch) -> tuple[Tensor, Tensor]:
        """Noise levels (B,) in 0..1 and noise (B, 8, 16, T), from torch's own generators."""
        levels = draw_levels(len(batch.data), self._settings.flow).to(self.device)
        return levels, torch.randn_like(batch.data).to(self.device)

    def loss_at(self, batch: SongBatch, levels: Tensor, noise: Tensor) -> Tensor:
        """The loss at given noise levels (B,) and noise (B, 8, 16, T)."""
        return self.loss_and_states(batch, levels, noise)[0]

    def loss_and_states(
        self, batch: SongBatch, levels: Tensor, noise: Tensor, depths: Collection[int] = ()
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """The loss as `loss_at` gives it, and the hidden states (B, T, D) after the blocks `depths`."""
        data = batch.data.to(self.device)
        noisy = add_noise(data, noise, levels)
        velocity, states = self.predict(batch, noisy, levels, depths)
        loss = flow_loss(velocity, noisy, data, noise, levels, batch.mask.to(self.device), self._settings.flow)
        return loss, states

    def velocity(self, batch: SongBatch, noisy: Tensor, levels: Tensor) -> Tensor:
        """The predicted velocity (B, 8, 16, T) for noisy latents at noise levels (B,)."""
        return self.predict(batch, noisy, levels)[0]

    def predict(
        self, batch: SongBatch, noisy: Tensor, levels: Tensor, depths: Collection[int] = ()
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """The predicted velocity (B, 8, 16, T), and the hidden states (B, T, D) after the blocks `depths`."""
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
        """The control branch's tokens (B, T, D) for the batch, None without a branch, and the branch's strength."""
        return None, 1.0

    def modules(self) -> dict[str, nn.Module]:
        """The trained modules, by name."""
        raise NotImplementedError

    def export(self, folder: Path) -> None:
        """Write the trained part into `folder`."""
        raise NotImplementedError

    def preview(self, folder: Path, step: int) -> Mapping[str, float]:
        """Measure losses on held-out songs, and write some sampled songs into `folder`."""
        measurements = measure(self, self._settings.preview, self._settings.seed)
        render_songs(self, self._settings.preview, folder)
        return measurements


def _controlled(targets: Sequence[SongTarget]) -> Tensor | None:
    """(B,) with 1 for targets that have a control track; None where all have one, or none has."""
    heard = [target.control is not None for target in targets]
    return None if all(heard) or not any(heard) else torch.tensor(heard).float()


def split(songs: Sequence[int], held_out: int) -> tuple[list[int], list[int]]:
    """Songs to learn from, and up to `held_out` others: every fourth song, so that a grown set keeps the same ones."""
    held_out_songs = songs[::4][: min(held_out, len(songs) // 4)]
    return sorted(set(songs) - set(held_out_songs)), list(held_out_songs)
