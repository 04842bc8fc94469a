"""Answers the queries of songs: runs their rows as one padded batch and returns one velocity per row.

`Denoiser` is what the loop knows: it turns queries into rows, and rows into velocities. `TransformerDenoiser` is the
one that songs are made with.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from acestep_flows.errors import InputError
from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.encoded_conditions import EncodedConditions
from acestep_flows.model.kept_stacks import KeptStacks
from acestep_flows.model.transfer import on_device
from acestep_flows.model.transformer import Transformer
from acestep_flows.sampling.branches import Branches
from acestep_flows.sampling.queries import BranchName, Query


@dataclass(frozen=True, eq=False)
class QueryRow:
    """One row of a forward pass: a query. Denoisers add what they answer it from.

    Attributes:
        solo_rows: how many rows this pass would have if the song had the network to itself; None: it has.
    """

    query: Query
    solo_rows: int | None = field(default=None, kw_only=True)


class Denoiser(ABC):
    """Answers the queries of one song."""

    @property
    def network(self) -> object:
        """What makes the forward passes. Songs of the same network may share them."""
        return self

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return torch.device("cpu")

    def rows(self, queries: Sequence[Query]) -> Sequence[QueryRow]:
        """One row per query, in order."""
        return tuple(QueryRow(query) for query in queries)

    @abstractmethod
    def predict(self, rows: Sequence[Any]) -> Sequence[Tensor]:
        """One forward pass: the velocity of every row, of the shape of its latents.

        Args:
            rows: made by `rows` of this denoiser, or of others with the same network.
        """

    def predict_stacked(self, latents: Tensor, rows: Sequence[Any]) -> Tensor:
        """As `predict`, of latents (B, 8, 16, T) that are stacked already; only real frames are meaningful.

        Denoisers that want songs to share the work of a device make this one pass.
        """
        single = [
            replace(row, query=Query(padded[..., : row.query.frames], row.query.timestep, row.query.branch,
                                     row.query.erg_temperature))
            for row, padded in zip(rows, latents, strict=True)
        ]  # fmt: skip
        velocities = self.predict(single)
        return torch.stack([pad(velocity, (0, latents.shape[-1] - velocity.shape[-1])) for velocity in velocities])


@dataclass(frozen=True, eq=False)
class DenoiserRow(QueryRow):
    """A query and the conditions that the transformer answers it under.

    Attributes:
        memory: the encoded conditions of the query's branch.
        control: (T, D) from a control branch, T the query's frames; None changes nothing.
        control_scale: strength of the control.
    """

    memory: EncodedConditions
    control: Tensor | None = None
    control_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.control is not None and len(self.control) != self.query.frames:
            allowed = f"{self.query.frames}, as the song"
            raise InputError(f"{len(self.control)} frames", where="control", allowed=allowed)


@torch.inference_mode()
def predict_velocities(transformer: Transformer, rows: Sequence[DenoiserRow]) -> list[Tensor]:
    """The velocity (8, 16, T) of every row; rows may be of different songs, lengths and noise levels."""
    frames = [row.query.frames for row in rows]
    latents = torch.stack([pad(row.query.latents, (0, max(frames) - row.query.frames)) for row in rows])
    velocities = predict_stacked(transformer, latents.to(next(transformer.parameters()).device), rows)
    return [velocity[..., :length] for velocity, length in zip(velocities, frames, strict=True)]


@torch.inference_mode()
def predict_stacked(transformer: Transformer, latents: Tensor, rows: Sequence[DenoiserRow]) -> Tensor:
    """Velocities of latents (B, 8, 16, T), padded on the right; only real frames are meaningful."""
    device, longest = latents.device, latents.shape[-1]
    frames = [row.query.frames for row in rows]
    control: Tensor | None = None
    scale: Tensor | float = 1.0
    if any(row.control is not None for row in rows):
        controls = [_NONE if row.control is None else row.control for row in rows]
        tokens = _stacked_controls(controls) if device.type == "cpu" else _CONTROLS.of(controls)
        control = pad(tokens, (0, 0, 0, longest - tokens.shape[1])).to(device)
        scale = on_device([row.control_scale for row in rows], device, torch.float32)
    velocities: Tensor = transformer(
        latents,
        on_device([row.query.timestep for row in rows], device, torch.float32),
        [row.memory for row in rows],
        frames=frames if min(frames) < longest else None,
        erg_temperature=[row.query.erg_temperature for row in rows],
        control=control,
        control_scale=scale,
        solo_rows=[row.solo_rows or len(rows) for row in rows],
    )
    return velocities


_NONE = torch.empty(0, 0)


def _stacked_controls(controls: Sequence[Tensor]) -> Tensor:
    """Control tokens (B, T, D) of rows, zeros for those that have none."""
    longest = max(len(tokens) for tokens in controls)
    (like, *_) = (tokens for tokens in controls if tokens is not _NONE)
    padded = [like.new_zeros(longest, like.shape[1]) if tokens is _NONE else tokens for tokens in controls]
    return torch.stack([pad(tokens, (0, 0, 0, longest - len(tokens))) for tokens in padded])


_CONTROLS = KeptStacks(_stacked_controls)


@torch.inference_mode()
def encode_conditions(
    transformer: Transformer, projector: ConditionProjector, branches: Branches
) -> dict[BranchName, EncodedConditions]:
    """What the transformer keeps of each branch's conditions for the whole song."""
    device = next(projector.parameters()).device
    memories = {}
    for name, branch in branches.items():
        parts = (branch.text, branch.text_mask, branch.lyrics, branch.lyric_mask)
        memories[name] = transformer.encode_condition(*projector(*(part.to(device) for part in parts)))
    return memories


@dataclass(frozen=True, eq=False)
class TransformerDenoiser(Denoiser):
    """The transformer under the conditions of one song.

    Attributes:
        control: (T, D) from a control branch; None for none.
        control_scale: strength of the control.
        control_until: the least timestep at which it is heard, in 0..1000. Above are the steps that decide the rhythm.
    """

    transformer: Transformer
    memories: Mapping[BranchName, EncodedConditions]
    control: Tensor | None = None
    control_scale: float = 1.0
    control_until: float = 0.0

    @property
    def network(self) -> Transformer:
        return self.transformer

    @property
    def device(self) -> torch.device:
        return self.transformer.final_layer.scale_shift_table.device

    def rows(self, queries: Sequence[Query]) -> Sequence[DenoiserRow]:
        return tuple(
            DenoiserRow(
                query,
                self.memories[query.branch],
                self.control if query.timestep >= self.control_until else None,
                self.control_scale,
            )
            for query in queries
        )

    def predict(self, rows: Sequence[DenoiserRow]) -> Sequence[Tensor]:
        return predict_velocities(self.transformer, rows)

    def predict_stacked(self, latents: Tensor, rows: Sequence[DenoiserRow]) -> Tensor:
        return predict_stacked(self.transformer, latents, rows)
