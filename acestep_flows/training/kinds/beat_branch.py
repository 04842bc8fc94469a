"""A control branch that learns along with the diffusion transformer: it hears the beat tracks of songs that have one.

Part of the rows learn without their beat, so that the model also plays from words alone.
"""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor, nn

from acestep_flows.model.control import ControlBranch
from acestep_flows.model.transformer import Transformer
from acestep_flows.training.kinds import training_forward
from acestep_flows.training.kinds.song_batch import SongBatch
from acestep_flows.training.loop.recipe import RecipeSection

FOLDER = Path("controls") / "beat"
"""Place of the branch in a checkpoint."""


class BeatSettings(RecipeSection):
    """The `beat` section: a control branch for beat tracks, trained along."""

    share: float = Field(0.8, gt=0, le=1, description="Share of the songs with a beat track that are heard with it.")
    gain: float = Field(0.5, ge=0, le=1, description="Initial strength of the branch.")


def untrained_branch(transformer: Transformer, settings: BeatSettings, device: str) -> ControlBranch:
    """The branch at the beginning of training."""
    branch = ControlBranch.untrained(transformer.proj_in).to(device)
    nn.init.constant_(branch.gain, settings.gain)
    return branch


def branch_tokens(branch: ControlBranch, batch: SongBatch, device: str) -> tuple[Tensor, Tensor]:
    """Tokens (B, T, D) of the batch's control tracks, and the strength: one number, or (B,) where rows have none."""
    assert batch.control is not None
    control = batch.control.to(device)
    padding = training_forward.padding_of(batch.lengths, control)
    tokens: Tensor = branch.proj_out(training_forward.embed(branch.proj_in, control, padding))
    strength: Tensor = branch.gain if batch.controlled is None else branch.gain * batch.controlled.to(device)
    return tokens, strength


def save_branch(branch: ControlBranch, folder: Path) -> None:
    """Write the branch into a checkpoint folder, in bfloat16 like published weights."""
    import copy

    copy.deepcopy(branch).to(torch.bfloat16).save(folder / FOLDER)
