"""Answers the queries of songs: runs their rows as one padded batch and returns one velocity per row.

`Denoiser` is what the loop knows: it turns queries into rows, and rows into velocities. `TransformerDenoiser` is the
one that songs are made with.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from acestep_flows.errors import InputError
from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.encoded_conditions import EncodedConditions
from acestep_flows.model.transformer import Transformer
from acestep_flows.sampling.branches import Branches
from acestep_flows.sampling.trajectory import BranchName, Query


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

    def rows(self, queries: Sequence[Query]) -> Sequence[QueryRow]:
        """One row per query, in order."""
        return tuple(QueryRow(query) for query in queries)

    @abstractmethod
    def predict(self, rows: Sequence[Any]) -> Sequence[Tensor]:
        """One forward pass: the velocity of every row, of the shape of its latents.

        Args:
            rows: made by `rows` of this denoiser, or of others with the same network.
        """


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
    device = next(transformer.parameters()).device
    frames = [row.query.frames for row in rows]
    longest = max(frames)
    latents = torch.stack([pad(row.query.latents, (0, longest - row.query.frames)) for row in rows])
    controls = [row.control for row in rows if row.control is not None]
    control = scale = None
    if controls:
        no_control = controls[0].new_zeros(0, controls[0].shape[-1])
        controls = [no_control if row.control is None else row.control for row in rows]
        control = torch.stack([pad(tokens, (0, 0, 0, longest - len(tokens))) for tokens in controls]).to(device)
        scale = torch.tensor([row.control_scale for row in rows], device=device)
    velocities: Tensor = transformer(
        latents.to(device),
        torch.tensor([row.query.timestep for row in rows], device=device),
        [row.memory for row in rows],
        frames=frames if min(frames) < longest else None,
        erg_temperature=[row.query.erg_temperature for row in rows],
        control=control,
        control_scale=1.0 if scale is None else scale,
        solo_rows=[row.solo_rows or len(rows) for row in rows],
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
        memories[name] = transformer.encode_condition(*projector(*(part.to(device) for part in parts)))
    return memories


@dataclass(frozen=True, eq=False)
class TransformerDenoiser(Denoiser):
    """The transformer under the conditions of one song."""

    transformer: Transformer
    memories: Mapping[BranchName, EncodedConditions]
    control: Tensor | None = None
    control_scale: float = 1.0

    @property
    def network(self) -> Transformer:
        return self.transformer

    def rows(self, queries: Sequence[Query]) -> Sequence[DenoiserRow]:
        return tuple(
            DenoiserRow(query, self.memories[query.branch], self.control, self.control_scale) for query in queries
        )

    def predict(self, rows: Sequence[DenoiserRow]) -> Sequence[Tensor]:
        return predict_velocities(self.transformer, rows)
