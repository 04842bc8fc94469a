"""Train a LoRA adapter for the transformer, its lyric encoder and its projections, in the published file format."""

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
from acestep_flows.training.kinds.low_rank import LowRankSettings, fresh_adapter, learnt_adapter, trainable
from acestep_flows.training.kinds.song_task import SongRecipe, SongTarget, SongTask


class LoraRecipe(SongRecipe):
    """Recipe of an adapter."""

    kind: Literal["lora"] = "lora"
    adapter: LowRankSettings = LowRankSettings()
    track: str = Field(MIX, description="What to learn of each song; 'vocal' makes a voice adapter.")
    tags: tuple[str, ...] = Field((), description="Tags put before each song's own.")
    forget: tuple[str, ...] = Field((), description="Tags (regular expressions) that are left out, as of other stems.")


RECIPE = LoraRecipe


class LoraTask(SongTask):
    """Frozen networks with thin trained layers beside theirs."""

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

    def part(self, song: EncodedSong, random: np.random.Generator) -> SongTarget:
        told = super().part(song, random)
        recipe = self._recipe
        if recipe.tags or recipe.forget:
            tags = (*recipe.tags, *remembered(song.tags, recipe.forget))
            return SongTarget(recipe.track, prompt(tags, {}, recipe.conditions, random), told.lyrics)
        return SongTarget(recipe.track, told.prompt, told.lyrics)

    def modules(self) -> dict[str, nn.Module]:
        return self.networks.published

    def export(self, folder: Path) -> None:
        """`folder/pytorch_lora_weights.safetensors`, which `adapter=FOLDER` takes."""
        base = self.checkpoint.digest(TRANSFORMER)
        learnt_adapter(self.networks.published.values(), self._recipe.adapter.scaling, base).save(folder)


def remembered(tags: tuple[str, ...], forget: tuple[str, ...]) -> tuple[str, ...]:
    """The tags that match none of the patterns to forget."""
    patterns = [re.compile(pattern) for pattern in forget]
    return tuple(tag for tag in tags if not any(pattern.fullmatch(tag) for pattern in patterns))


def build(recipe: LoraRecipe, device: str) -> LoraTask:
    """The task of `recipe`."""
    return LoraTask(recipe, device)
