"""REPA in training: hidden states are pulled towards what audio teachers hear in the same songs (spec 05 section 2.7).

Which teachers a checkpoint was made with, where they are compared and how wide they are stands in its config; a
teacher beside those needs a depth of its own, and a head that is not written out. Heads learn along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor, nn

from acestep_flows.errors import InputError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.config import TransformerConfig
from acestep_flows.model.layout import TRANSFORMER
from acestep_flows.model.repa import RepaHeads
from acestep_flows.training.data.batches import Crop
from acestep_flows.training.data.encoded import EncodedSet
from acestep_flows.training.data.sounds import Sounds
from acestep_flows.training.kinds.objective import Loss, combine
from acestep_flows.training.kinds.teachers import Teacher, TeacherSettings, load_teacher
from acestep_flows.training.loop.recipe import RecipeSection

Heard = Mapping[str, Sequence[Tensor]]
"""By teacher's name the mono sound (n,) of each row of a batch, at the teacher's rate."""


class RepaSettings(RecipeSection):
    """Which teachers, and how much they count."""

    coefficient: float = Field(1.0, gt=0, description="Of the teachers' mean distance, beside the flow's loss.")
    teachers: dict[str, TeacherSettings] = Field(
        {"mert": TeacherSettings(), "m-hubert": TeacherSettings()},
        min_length=1,
        description="By name. One that is not on this machine is left out, with a notice.",
    )


class Alignment:
    """The teachers that are there, and their heads.

    Args:
        teachers: at least one, by name.

    Raises:
        InputError: a teacher does not fit the checkpoint; the songs' sound is gone.
    """

    def __init__(
        self, settings: RepaSettings, teachers: Mapping[str, Teacher], checkpoint: Checkpoint, songs: EncodedSet
    ) -> None:
        self._settings, self._teachers = settings, dict(teachers)
        self._sounds = Sounds(songs)
        self._published = TransformerConfig.from_json(checkpoint.config(TRANSFORMER))
        names = tuple(teachers)
        config = replace(
            self._published,
            ssl_names=names,
            ssl_encoder_depths=tuple(self._depth(name) for name in names),
            ssl_latent_dims=tuple(self._width(name) for name in names),
        )
        self.heads = RepaHeads(config)
        self._take_over(checkpoint)

    @classmethod
    def of(cls, settings: RepaSettings, checkpoint: Checkpoint, songs: EncodedSet, device: str) -> Alignment | None:
        """The alignment with the teachers that can be read; None where there are none."""
        found = {name: load_teacher(name, one, device) for name, one in settings.teachers.items()}
        teachers = {name: teacher for name, teacher in found.items() if teacher is not None}
        if not teachers:
            return None
        alignment = cls(settings, teachers, checkpoint, songs)
        alignment.heads.to(device)
        return alignment

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks whose states are wanted, one for each teacher."""
        return self.heads.config.ssl_encoder_depths

    def sounds(self, crops: Sequence[Crop]) -> Heard:
        """What the teachers will hear of `crops`."""
        return {
            name: [torch.from_numpy(self._sounds.mono(crop, teacher.rate)) for crop in crops]
            for name, teacher in self._teachers.items()
        }

    def loss(self, flow: Tensor, states: Mapping[int, Tensor], lengths: Sequence[int] | None, heard: Heard) -> Loss:
        """The loss of a step: that of the flow, and how far `states` by depth (B, T, D) are from the teachers'.

        Args:
            lengths: real frames of each row; None where all have T.
        """
        told = {name: teacher.hear(heard[name]) for name, teacher in self._teachers.items()}
        hidden = [states[depth] for depth in self.depths]
        if lengths is None:
            distances = self.heads(hidden, told)
        else:  # padding is no part of a song, and would be stretched along with it
            rows = [
                self.heads(
                    [one[row : row + 1, :length] for one in hidden],
                    {name: [features[row]] for name, features in told.items()},
                )
                for row, length in enumerate(lengths)
            ]
            distances = {name: torch.stack([row[name] for row in rows]).mean() for name in told}
        weights = {name: one.weight for name, one in self._settings.teachers.items()}
        return combine(flow, distances, self._settings.coefficient, weights)

    def tensors(self) -> dict[str, Tensor]:
        """The heads that the checkpoint's config knows, under their published names."""
        return {
            f"projectors.{self._published.ssl_names.index(name)}.{key}": tensor
            for name, head in self._named_heads().items()
            if name in self._published.ssl_names
            for key, tensor in head.state_dict().items()
        }

    def _named_heads(self) -> dict[str, nn.Module]:
        return dict(zip(self._teachers, self.heads.projectors, strict=True))

    def _depth(self, name: str) -> int:
        config, where = self._published, f"repa.teachers.{name}.depth"
        depth = self._settings.teachers[name].depth
        if depth is None:
            if name not in config.ssl_names:
                raise InputError("none, and the checkpoint's config has none", where=where)
            depth = config.ssl_encoder_depths[config.ssl_names.index(name)]
        if depth >= config.num_layers:
            raise InputError(f"{depth}", where=where, allowed=f"0 to {config.num_layers - 1}")
        return depth

    def _width(self, name: str) -> int:
        config, width = self._published, self._teachers[name].width
        if name in config.ssl_names:
            wanted = config.ssl_latent_dims[config.ssl_names.index(name)]
            if width != wanted:
                allowed = f"{wanted}, as the checkpoint's config has it"
                raise InputError(f"states of {width} channels", where=f"repa.teachers.{name}", allowed=allowed)
        return width

    def _take_over(self, checkpoint: Checkpoint) -> None:
        """Begin with the checkpoint's heads, where it has them."""
        there = set(checkpoint.shapes(TRANSFORMER))
        for name, head in self._named_heads().items():
            if name in self._published.ssl_names:
                prefix = f"projectors.{self._published.ssl_names.index(name)}."
                names = {f"{prefix}{key}" for key in head.state_dict()}
                if names <= there:
                    tensors = checkpoint.load(TRANSFORMER, names)
                    head.load_state_dict({key.removeprefix(prefix): tensor for key, tensor in tensors.items()})
