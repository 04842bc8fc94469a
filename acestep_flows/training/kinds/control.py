"""Train a control branch: it hears one track of a song and plays another (spec 01 section 5.2, spec 05 section 7).

The branch is our own network; it feeds the control input of upstream's transformer. With `adapter`, a LoRA adapter of
the transformer is trained too ("ControlNet-LoRA"). It is stored in the branch's folder, and the stages apply it
wherever the branch is used.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from acestep_flows.model.control import ControlBranch
from acestep_flows.model.layout import TRANSFORMER
from acestep_flows.training.adapters.files import rounded
from acestep_flows.training.data.encoded import BEAT, MIX, WITHOUT, EncodedSong
from acestep_flows.training.kinds.beat_branch import branch_tokens
from acestep_flows.training.kinds.conditions import INSTRUMENTAL, prompt
from acestep_flows.training.kinds.lora import remove_tags
from acestep_flows.training.kinds.low_rank import LowRankSettings, extract_adapter, fresh_adapter, trainable
from acestep_flows.training.kinds.song_batch import SongBatch, SongTarget
from acestep_flows.training.kinds.song_task import SongRecipe, SongTask
from acestep_flows.training.loop.recipe import RecipeSection

ANY_STEM = "*"
REFINED = ("transformer_blocks",)
"""Layers that the branch's adapter may refine. Not the lyric encoder: lyrics are encoded before the branch is known."""


class PairSettings(RecipeSection):
    """The `pair` section: the track that is heard and the one that is played. "*" in both stands for the same stem."""

    control: str = Field(description="Track that is heard: 'vocal', 'mix', 'without *'.")
    target: str = Field(description="Track that is played: 'without vocal', '*'.")
    stems: tuple[str, ...] = Field((), description="Stems that '*' may be; absent: all stems of a song.")
    words: Literal["tags", "stem"] = Field("tags", description="Prompt: the song's tags, or the stem's instrument.")
    style: float = Field(0.5, ge=0, le=1, description="words=stem: share of prompts with the song's style.")
    forget: tuple[str, ...] = Field(
        (), description="Tags to leave out (regular expressions); the control track conveys them."
    )
    forget_share: float = Field(0.7, ge=0, le=1, description="Share of prompts that leave them out.")
    lyrics: Literal["song", "none", "instrumental"] = Field("song", description="The song's lyrics, none, or '[inst]'.")
    lyrics_share: float = Field(1.0, ge=0, le=1, description="lyrics=song: share of prompts with lyrics.")

    @field_validator("target")
    @classmethod
    def _named(cls, target: str) -> str:
        if not target:
            raise ValueError("name a track")
        return target


class ControlRecipe(SongRecipe):
    """Recipe of a control branch."""

    kind: Literal["control"] = "control"
    pair: PairSettings
    adapter: LowRankSettings | None = Field(None, description="A LoRA adapter to train too; absent: none.")
    gain: float = Field(0.0, ge=0, le=1, description="Initial strength; at 0 the branch has no effect at first.")
    emphasis: float = Field(
        1.0, gt=0, le=10, description="Factor on the exported strength; a small model needs more than 1."
    )


RECIPE = ControlRecipe


class ControlTask(SongTask):
    """Trains a branch beside the frozen networks, and an adapter on them where the recipe asks for one."""

    def __init__(self, recipe: ControlRecipe, device: str) -> None:
        self._recipe = recipe
        super().__init__(recipe, device)
        transformer = self.networks.transformer
        self.branch = ControlBranch.untrained(transformer.proj_in).to(device)
        nn.init.constant_(self.branch.gain, recipe.gain)
        if recipe.adapter is not None:
            adapter = fresh_adapter(self.checkpoint.config(TRANSFORMER), recipe.adapter, REFINED)
            self.networks.transformer = trainable(adapter, transformer)

    def usable(self, song: EncodedSong) -> bool:
        return bool(self._choices(song))

    def _choices(self, song: EncodedSong) -> list[tuple[str, str, str]]:
        """Control track, target track and stem, for each pair that this song has."""
        pair = self._recipe.pair
        if ANY_STEM not in pair.control + pair.target:
            choices = [(pair.control, pair.target, "")]
        else:
            stems = [name for name in song.tracks if name not in (MIX, BEAT) and not name.startswith(WITHOUT)]
            stems = [name for name in stems if not pair.stems or name in pair.stems]
            choices = [
                (pair.control.replace(ANY_STEM, stem), pair.target.replace(ANY_STEM, stem), stem) for stem in stems
            ]
        return [choice for choice in choices if choice[0] in song.tracks and choice[1] in song.tracks]

    def choose_target(self, song: EncodedSong, random: np.random.Generator) -> SongTarget:
        pair, choices = self._recipe.pair, self._choices(song)
        control, target, stem = choices[int(random.integers(len(choices)))]
        if pair.words == "stem" and stem:
            tags = stem_words(stem, song, with_style=bool(random.random() < pair.style))
        else:
            forget = pair.forget if random.random() < pair.forget_share else ()
            tags = remove_tags(song.tags, forget)
        lyrics = song.lyrics if pair.lyrics == "song" and random.random() < pair.lyrics_share else ""
        lyrics = INSTRUMENTAL if pair.lyrics == "instrumental" else lyrics
        return SongTarget(target, prompt(tags, {}, self._recipe.conditions, random), lyrics, control)

    def control_tokens(self, batch: SongBatch) -> tuple[Tensor | None, Tensor | float]:
        return branch_tokens(self.branch, batch, self.device)

    def modules(self) -> dict[str, nn.Module]:
        return {"branch": self.branch} | ({"transformer": self.networks.transformer} if self._recipe.adapter else {})

    def export(self, folder: Path) -> None:
        """Write the branch into `folder`, in bfloat16 like published weights. `control_branch` takes `folder`."""
        branch = copy.deepcopy(self.branch)
        with torch.no_grad():
            branch.gain.mul_(self._recipe.emphasis)
        branch.to(torch.bfloat16).save(folder)
        if self._recipe.adapter is not None:
            base = self.checkpoint.digest(TRANSFORMER)
            adapter = extract_adapter([self.networks.transformer], self._recipe.adapter.scaling, base)
            rounded(adapter, torch.bfloat16).save(folder)


def stem_words(stem: str, song: EncodedSong, *, with_style: bool) -> Sequence[str]:
    """The usual words for a stem's instrument, and the song's style where `with_style` is set and it is known."""
    label = song.labels.get(stem, "")
    word = "drums" if stem == "drums" else f"{label} {stem}".strip() if stem == "vocal" else label or stem
    style = song.labels.get("style") if with_style else None
    return (word, style) if style else (word,)


def build(recipe: ControlRecipe, device: str) -> ControlTask:
    """Make the task of `recipe`."""
    return ControlTask(recipe, device)
