"""The network behind `Denoise`: calls of any songs in, one padded batch through the transformer, velocities out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from acestep_flows.errors import InputError
from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.transformer import EncodedConditions, Transformer
from acestep_flows.sampling.branches import Branches
from acestep_flows.sampling.trajectory import BranchName, Query


@dataclass(frozen=True, eq=False)
class DenoiserRow:
    """One row of a batch: a call, and what it is answered from.

    Attributes:
        memory: of the call's branch.
        control: (T, D) from a control branch, T the call's frames; None changes nothing.
        control_scale: strength of the control.
    """

    call: Query
    memory: EncodedConditions
    control: Tensor | None = None
    control_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.control is not None and len(self.control) != self.call.frames:
            allowed = f"{self.call.frames}, as the song"
            raise InputError(f"{len(self.control)} frames", where="control", allowed=allowed)


@torch.inference_mode()
def predict_velocities(transformer: Transformer, rows: Sequence[DenoiserRow]) -> list[Tensor]:
    """The velocity (8, 16, T) of every row; rows may be of different songs, lengths and noise levels."""
    device = next(transformer.parameters()).device
    frames = [row.call.frames for row in rows]
    longest = max(frames)
    latents = torch.stack([pad(row.call.latents, (0, longest - row.call.frames)) for row in rows])
    controls = [row.control for row in rows if row.control is not None]
    control = scale = None
    if controls:
        none = controls[0].new_zeros(0, controls[0].shape[-1])
        given = [none if row.control is None else row.control for row in rows]
        control = torch.stack([pad(part, (0, 0, 0, longest - len(part))) for part in given]).to(device)
        scale = torch.tensor([row.control_scale for row in rows], device=device)
    velocities: Tensor = transformer(
        latents.to(device),
        torch.tensor([row.call.timestep for row in rows], device=device),
        [row.memory for row in rows],
        frames=frames if min(frames) < longest else None,
        erg_temperature=[row.call.erg_temperature for row in rows],
        control=control,
        control_scale=1.0 if scale is None else scale,
    )
    return [velocity[..., :length] for velocity, length in zip(velocities, frames, strict=True)]


@torch.inference_mode()
def encode_conditions(
    transformer: Transformer, projector: ConditionProjector, branches: Branches
) -> dict[BranchName, EncodedConditions]:
    """What the transformer keeps of each branch's conditions for the whole song."""
    device = next(projector.parameters()).device
    memories = {}
    for name, branch in branches.items():
        parts = (branch.text, branch.text_mask, branch.lyrics, branch.lyric_mask)
        memories[name] = transformer.remember(*projector(*(part.to(device) for part in parts)))
    return memories


@dataclass(frozen=True, eq=False)
class Denoiser:
    """Answers the calls of one song, each set of them as one batch. Use it as the `denoise` of `drive`."""

    transformer: Transformer
    memories: Mapping[BranchName, EncodedConditions]
    control: Tensor | None = None
    control_scale: float = 1.0

    def __call__(self, calls: Sequence[Query]) -> list[Tensor]:
        return predict_velocities(self.transformer, self.rows(calls))

    def rows(self, calls: Sequence[Query]) -> tuple[DenoiserRow, ...]:
        """The calls, each with what it is answered from."""
        return tuple(DenoiserRow(call, self.memories[call.branch], self.control, self.control_scale) for call in calls)
