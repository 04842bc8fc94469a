"""The control input: latents of a reference track, added to the tokens before the first block (spec 01 section 5.2).

Upstream has the hook in the transformer but never published an encoder for it. `ControlBranch` is our encoder. It is
loaded from a folder of its own.
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
from acestep_flows.model.frame_mixing import frame_mixing
from acestep_flows.model.padding import Padding
from acestep_flows.model.patch import PatchEmbedding
from acestep_flows.values import seconds_from_frames

if TYPE_CHECKING:
    from acestep_flows.model.placement import Placement

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
MAX_DRIFT = 11
"""Frames (about a second) by which the length of a reference may differ from the song's."""


def blend(x: Tensor, control: Tensor, scale: float | Tensor, padding: Padding | None = None) -> Tensor:
    """x + scale * control, with the control normalised to the mean and standard deviation of x.

    Both statistics are joint over time and channels of one row. A constant control changes nothing; the formula alone
    would add the mean of x.

    Args:
        x: tokens (B, T, D).
        control: (B, T, D).
        scale: the strength, one number for all rows or (B,).
        padding: where it is exact, the statistics run over real frames only.

    Returns:
        (B, T, D).
    """
    control = control.to(x)
    mixing = frame_mixing(x.device)
    x_std, x_mean = mixing.row_moments(x, padding)
    std, mean = mixing.row_moments(control, padding)
    normed = (control - mean) * (x_std / (std + 1e-12)) + x_mean
    strength = torch.as_tensor(scale, dtype=x.dtype, device=x.device).reshape(-1, 1, 1)
    return x + strength * torch.where(std > 0, normed, 0.0)


class ControlBranch(nn.Module):
    """Encodes a reference track's latents to control tokens: a copy of the patch embedding, a projection, and a gain.

    `blend` divides by the control's standard deviation, so a zero-initialised projection would get no gradient.
    Instead `gain`, a factor on the strength, starts at zero: an untrained branch changes nothing and can learn.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj_in = PatchEmbedding(width)
        self.proj_out = nn.Linear(width, width)
        self.gain = nn.Parameter(torch.zeros(()))

    @classmethod
    def untrained(cls, proj_in: PatchEmbedding) -> ControlBranch:
        """An untrained branch for the transformer with the patch embedding `proj_in`, which it copies."""
        branch = cls(proj_in.width)
        branch.proj_in.load_state_dict(proj_in.state_dict())
        nn.init.eye_(branch.proj_out.weight)
        nn.init.zeros_(branch.proj_out.bias)
        return branch

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any], placement: Placement) -> ControlBranch:
        """Read a branch for the transformer with the parsed config file `config`.

        Raises:
            CheckpointError: a file is missing or damaged, or the branch was made for another width.
        """
        width = config["num_attention_heads"] * config["attention_head_dim"]
        try:
            branch_config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            tensors = load_file(folder / WEIGHTS, device=placement.device)
            branch_width = branch_config["inner_dim"]
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise CheckpointError(f"not a control branch: {error!r}", where=str(folder)) from None
        if branch_width != width:
            raise CheckpointError(f"made for width {branch_width}", where=str(folder), allowed=f"width {width}")
        with torch.device("meta"):
            branch = cls(width)
        expected = {name: tensor.shape for name, tensor in branch.state_dict().items()}
        if {name: tensor.shape for name, tensor in tensors.items()} != expected:
            raise CheckpointError("tensors are missing or misshapen", where=str(folder / WEIGHTS))
        dtype = getattr(torch, placement.dtype)
        branch.load_state_dict({name: tensor.to(dtype) for name, tensor in tensors.items()}, assign=True)
        return branch.requires_grad_(False).eval()

    def save(self, folder: Path) -> None:
        """Write the branch to `folder`, in the layout of the published parts.

        Raises:
            StorageError: the folder cannot be written to.
        """
        config = {"_class_name": type(self).__name__, "inner_dim": self.proj_in.width}
        storage.write(folder / WEIGHTS, save({name: tensor.contiguous() for name, tensor in self.state_dict().items()}))
        storage.write(folder / CONFIG, json.dumps(config, indent=2).encode())

    def forward(self, latents: Tensor, padding: Padding | None = None) -> Tensor:
        """Reference latents (B, 8, 16, T) to control tokens (B, T, D). The caller multiplies the strength by `gain`."""
        control: Tensor = self.proj_out(self.proj_in(latents.to(self.gain.dtype), padding))
        return control


def fit_to_song(latents: Tensor, frames: int) -> Tensor:
    """Crop reference latents (..., T) to the song's `frames`, or zero-pad them at the end.

    Raises:
        InputError: the lengths differ by more than a second, so the tracks are not aligned.
    """
    length = latents.shape[-1]
    if abs(length - frames) > MAX_DRIFT:
        raise InputError(
            f"{seconds_from_frames(length):.1f} s long",
            where="control",
            allowed=f"{seconds_from_frames(frames):.1f} s, the length of the song, give or take a second",
        )
    return pad(latents, (0, frames - length))
