"""The control input: another track's latents, blended into the tokens before the first block (spec 01 section 5.2).

The hook itself is upstream's; no encoder for it was ever published. `ControlBranch` is ours, and is loaded from a
folder of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.functional import pad

from acestep_flows import storage
from acestep_flows.errors import CheckpointError, InputError
from acestep_flows.model.padding import Padding, joint_rows
from acestep_flows.model.patch import PatchEmbedding
from acestep_flows.values import seconds_from_frames

if TYPE_CHECKING:
    from acestep_flows.model.placement import Placement

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
MAX_DRIFT = 11
"""Frames (about a second) by which a reference may miss the song's length."""


def blend(x: Tensor, control: Tensor, scale: float | Tensor, padding: Padding | None = None) -> Tensor:
    """x + scale * control, after giving the control the mean and deviation that x has.

    Mean and deviation are joint over time and channels of one row. A control that does not vary carries nothing, so
    it changes nothing (the formula alone would add the mean of x).

    Args:
        x: tokens (B, T, D).
        control: (B, T, D).
        scale: one strength for all rows or (B,).
    """
    control = control.to(x)
    x_std, x_mean = _moments(x, padding)
    std, mean = _moments(control, padding)
    normed = (control - mean) * (x_std / (std + 1e-12)) + x_mean
    strength = torch.as_tensor(scale, dtype=x.dtype, device=x.device).reshape(-1, 1, 1)
    return x + strength * torch.where(std > 0, normed, 0.0)


def _moments(x: Tensor, padding: Padding | None) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean of each row, (B, 1, 1)."""
    moments = [torch.std_mean(row, dim=(0, 1), keepdim=True) for row in joint_rows(x, padding)]
    std, mean = (torch.stack(moment) for moment in zip(*moments, strict=True))
    return std, mean


class ControlBranch(nn.Module):
    """Encodes a reference track's latents for the hook: a copy of the patch embedding, a projection, and a gain.

    The hook divides by the control's own deviation, so a zero-initialised projection would neither stay silent nor
    ever get a gradient. What starts at zero is therefore `gain`, a factor on the strength: an untrained branch
    changes nothing, and learns.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj_in = PatchEmbedding(width)
        self.proj_out = nn.Linear(width, width)
        self.gain = nn.Parameter(torch.zeros(()))

    @classmethod
    def beside(cls, proj_in: PatchEmbedding) -> ControlBranch:
        """An untrained branch for the transformer that `proj_in` belongs to."""
        branch = cls(proj_in.width)
        branch.proj_in.load_state_dict(proj_in.state_dict())
        nn.init.eye_(branch.proj_out.weight)
        nn.init.zeros_(branch.proj_out.bias)
        return branch

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any], placement: Placement) -> ControlBranch:
        """Read a branch for the transformer that `config`, its parsed config file, describes.

        Raises:
            CheckpointError: a file is missing or damaged, or the branch is for another model.
        """
        width = config["num_attention_heads"] * config["attention_head_dim"]
        try:
            own = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            tensors = load_file(folder / WEIGHTS, device=placement.device)
            found = own["inner_dim"]
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise CheckpointError(f"not a control branch: {error!r}", where=str(folder)) from None
        if found != width:
            raise CheckpointError(f"made for width {found}", where=str(folder), allowed=f"width {width}")
        with torch.device("meta"):
            branch = cls(width)
        expected = {name: tensor.shape for name, tensor in branch.state_dict().items()}
        if {name: tensor.shape for name, tensor in tensors.items()} != expected:
            raise CheckpointError("tensors are missing or misshapen", where=str(folder / WEIGHTS))
        dtype = getattr(torch, placement.dtype)
        branch.load_state_dict({name: tensor.to(dtype) for name, tensor in tensors.items()}, assign=True)
        return branch.requires_grad_(False).eval()

    def save(self, folder: Path) -> None:
        """Write the branch in the layout of the published parts.

        Raises:
            StorageError: the folder cannot be written to.
        """
        config = {"_class_name": type(self).__name__, "inner_dim": self.proj_in.width}
        storage.write(folder / WEIGHTS, save({name: tensor.contiguous() for name, tensor in self.state_dict().items()}))
        storage.write(folder / CONFIG, json.dumps(config, indent=2).encode())

    def forward(self, latents: Tensor, padding: Padding | None = None) -> Tensor:
        """Reference latents (B, 8, 16, T) to control tokens (B, T, D); times `gain`, the strength, they act."""
        control: Tensor = self.proj_out(self.proj_in(latents.to(self.gain.dtype), padding))
        return control


def fit(latents: Tensor, frames: int) -> Tensor:
    """Reference latents (..., T) cropped or zero-padded at the end to the song's `frames`.

    Raises:
        InputError: the lengths differ by more than a second: the tracks are not aligned.
    """
    given = latents.shape[-1]
    if abs(given - frames) > MAX_DRIFT:
        raise InputError(
            f"{seconds_from_frames(given):.1f} s long",
            where="control",
            allowed=f"{seconds_from_frames(frames):.1f} s as the song, give or take a second",
        )
    return pad(latents, (0, frames - given))
