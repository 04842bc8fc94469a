"""Train a control branch: hear one track of a song, play another (spec 01 section 5.2, spec 05 section 7).

The branch is ours; the hook it feeds is upstream's. With `adapter` an adapter of the transformer is trained along
("ControlNet-LoRA"), and lies in the branch's folder: the stages apply it wherever the branch is used.
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
from acestep_flows.training.data.encoded import MIX, WITHOUT, EncodedSong
from acestep_flows.training.kinds import training_forward
from acestep_flows.training.kinds.conditions import INSTRUMENTAL, prompt
from acestep_flows.training.kinds.lora import remembered
from acestep_flows.training.kinds.low_rank import LowRankSettings, fresh_adapter, learnt_adapter, trainable
from acestep_flows.training.kinds.song_task import SongBatch, SongRecipe, SongTarget, SongTask
from acestep_flows.training.loop.recipe import RecipeSection

ANY = "*"
REFINED = ("transformer_blocks",)
"""What the adapter of a control branch may refine: lyrics are encoded before the branch is known."""


class PairSettings(RecipeSection):
    """What is heard and what is played; "*" in both is a stem, the same one."""

    control: str = Field(description="The track that is heard: 'vocal', 'mix', 'without *'.")
    target: str = Field(description="The track that is played: 'without vocal', '*'.")
    stems: tuple[str, ...] = Field((), description="The stems that '*' may be; absent: all a song has.")
    words: Literal["tags", "stem"] = Field("tags", description="The song's tags, or what plays on the stem.")
    style: float = Field(0.5, ge=0, le=1, description="words=stem: how often the style is said too.")
    forget: tuple[str, ...] = Field((), description="Tags (regular expressions) that the control should tell instead.")
    forget_share: float = Field(0.7, ge=0, le=1, description="How often they are left out.")
    lyrics: Literal["song", "none", "instrumental"] = Field("song", description="The song's, none, or '[inst]'.")
    lyrics_share: float = Field(1.0, ge=0, le=1, description="lyrics=song: how often they are given.")

    @field_validator("target")
    @classmethod
    def _named(cls, target: str) -> str:
        if not target:
            raise ValueError("a track is needed")
        return target


class ControlRecipe(SongRecipe):
    """Recipe of a control branch."""

    kind: Literal["control"] = "control"
    pair: PairSettings
    adapter: LowRankSettings | None = Field(None, description="An adapter to train along; absent: none.")
    gain: float = Field(0.0, ge=0, le=1, description="Strength to begin with; 0 changes nothing at first.")
    emphasis: float = Field(
        1.0, gt=0, le=10, description="Factor on the learnt strength in what is exported; a small model needs more."
    )


RECIPE = ControlRecipe


class ControlTask(SongTask):
    """A branch beside frozen networks, and an adapter on these on request."""

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
        """Control, target and stem that this song offers."""
        pair = self._recipe.pair
        if ANY not in pair.control + pair.target:
            choices = [(pair.control, pair.target, "")]
        else:
            stems = [name for name in song.tracks if name != MIX and not name.startswith(WITHOUT)]
            stems = [name for name in stems if not pair.stems or name in pair.stems]
            choices = [(pair.control.replace(ANY, stem), pair.target.replace(ANY, stem), stem) for stem in stems]
        return [one for one in choices if one[0] in song.tracks and one[1] in song.tracks]

    def part(self, song: EncodedSong, random: np.random.Generator) -> SongTarget:
        pair, choices = self._recipe.pair, self._choices(song)
        control, target, stem = choices[int(random.integers(len(choices)))]
        if pair.words == "stem" and stem:
            tags = stem_words(stem, song, said=bool(random.random() < pair.style))
        else:
            forget = pair.forget if random.random() < pair.forget_share else ()
            tags = remembered(song.tags, forget)
        lyrics = song.lyrics if pair.lyrics == "song" and random.random() < pair.lyrics_share else ""
        lyrics = INSTRUMENTAL if pair.lyrics == "instrumental" else lyrics
        return SongTarget(target, prompt(tags, {}, self._recipe.conditions, random), lyrics, control)

    def control_tokens(self, batch: SongBatch) -> tuple[Tensor | None, Tensor | float]:
        assert batch.control is not None
        control = batch.control.to(self.device)
        padding = training_forward.padding_of(batch.lengths, control)
        branch = self.branch
        tokens: Tensor = branch.proj_out(training_forward.embed(branch.proj_in, control, padding))
        return tokens, branch.gain

    def modules(self) -> dict[str, nn.Module]:
        return {"branch": self.branch} | ({"transformer": self.networks.transformer} if self._recipe.adapter else {})

    def export(self, folder: Path) -> None:
        """`folder` as a control branch, which `control_branch=FOLDER` takes; in bfloat16, as published weights are."""
        branch = copy.deepcopy(self.branch)
        with torch.no_grad():
            branch.gain.mul_(self._recipe.emphasis)
        branch.to(torch.bfloat16).save(folder)
        if self._recipe.adapter is not None:
            base = self.checkpoint.digest(TRANSFORMER)
            adapter = learnt_adapter([self.networks.transformer], self._recipe.adapter.scaling, base)
            rounded(adapter, torch.bfloat16).save(folder)


def stem_words(stem: str, song: EncodedSong, *, said: bool) -> Sequence[str]:
    """What plays on a stem, the way people ask for it, with the song's style where it is to be said."""
    label = song.labels.get(stem, "")
    word = "drums" if stem == "drums" else f"{label} {stem}".strip() if stem == "vocal" else label or stem
    style = song.labels.get("style") if said else None
    return (word, style) if style else (word,)


def build(recipe: ControlRecipe, device: str) -> ControlTask:
    """The task of `recipe`."""
    return ControlTask(recipe, device)
