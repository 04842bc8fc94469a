"""Train a LoRA adapter for the transformer, the lyric encoder and the projections, in the published file format."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from torch import nn

from acestep_flows.model.layout import TRANSFORMER
from acestep_flows.training.data.encoded import MIX, EncodedSong
from acestep_flows.training.kinds.conditions import prompt
from acestep_flows.training.kinds.low_rank import LowRankSettings, extract_adapter, fresh_adapter, trainable
from acestep_flows.training.kinds.song_batch import SongTarget
from acestep_flows.training.kinds.song_task import SongRecipe, SongTask


class LoraRecipe(SongRecipe):
    """Recipe of a LoRA adapter."""

    kind: Literal["lora"] = "lora"
    adapter: LowRankSettings = LowRankSettings()
    track: str = Field(MIX, description="Track to learn of each song; 'vocal' makes a voice adapter.")
    tags: tuple[str, ...] = Field((), description="Tags put before each song's own.")
    forget: tuple[str, ...] = Field((), description="Tags to leave out (regular expressions).")


RECIPE = LoraRecipe


class LoraTask(SongTask):
    """Trains low-rank layers beside the frozen layers of the networks."""

    def __init__(self, recipe: LoraRecipe, device: str) -> None:
        self._recipe = recipe
        super().__init__(recipe, device)
        adapter = fresh_adapter(self.checkpoint.config(TRANSFORMER), recipe.adapter)
        networks = self.networks
        networks.transformer = trainable(adapter, networks.transformer)
        networks.projector = trainable(adapter, networks.projector)
        networks.lyric_encoder = trainable(adapter, networks.lyric_encoder)

    def usable(self, song: EncodedSong) -> bool:
        return self._recipe.track in song.tracks

    def choose_target(self, song: EncodedSong, random: np.random.Generator) -> SongTarget:
        target = super().choose_target(song, random)
        recipe = self._recipe
        if recipe.tags or recipe.forget:
            tags = (*recipe.tags, *remove_tags(song.tags, recipe.forget))
            return SongTarget(recipe.track, prompt(tags, {}, recipe.conditions, random), target.lyrics)
        return SongTarget(recipe.track, target.prompt, target.lyrics)

    def modules(self) -> dict[str, nn.Module]:
        return self.networks.published

    def export(self, folder: Path) -> None:
        """Write `folder/pytorch_lora_weights.safetensors`. The `adapter` parameter takes `folder`."""
        base = self.checkpoint.digest(TRANSFORMER)
        extract_adapter(self.networks.published.values(), self._recipe.adapter.scaling, base).save(folder)


def remove_tags(tags: tuple[str, ...], patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The tags that match none of the regular expressions as a whole."""
    compiled = [re.compile(pattern) for pattern in patterns]
    return tuple(tag for tag in tags if not any(pattern.fullmatch(tag) for pattern in compiled))


def build(recipe: LoraRecipe, device: str) -> LoraTask:
    """Make the task of `recipe`."""
    return LoraTask(recipe, device)
