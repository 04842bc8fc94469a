"""REPA in training: align hidden states with the features of audio teachers for the same songs (spec 05 section 2.7).

The checkpoint's config names its teachers, the blocks whose states are compared, and the width of the features. A
teacher that the config does not name needs a `depth` in the recipe, and its head is not exported. Heads are trained.
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

TeacherAudio = Mapping[str, Sequence[Tensor]]
"""By teacher, the mono samples (n,) of each row of a batch at the teacher's rate."""


class RepaSettings(RecipeSection):
    """The `repa` section: the teachers and the weight of their loss."""

    coefficient: float = Field(1.0, gt=0, description="Weight of the mean distance to the teachers.")
    teachers: dict[str, TeacherSettings] = Field(
        {"mert": TeacherSettings(), "m-hubert": TeacherSettings()},
        min_length=1,
        description="Teachers by name; one that is not on this machine is left out with a warning.",
    )


class Alignment:
    """Teachers and the trained heads that map hidden states to their features.

    Args:
        teachers: at least one, by name.
        songs: encoded songs whose source is still there.

    Attributes:
        heads: one head per teacher.

    Raises:
        InputError: a teacher does not fit the checkpoint, or the recordings of the songs are gone.
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
        self._load_published_heads(checkpoint)

    @classmethod
    def load(cls, settings: RepaSettings, checkpoint: Checkpoint, songs: EncodedSet, device: str) -> Alignment | None:
        """Load the teachers that are on this machine; None where there are none of them."""
        loaded = {name: load_teacher(name, teacher, device) for name, teacher in settings.teachers.items()}
        teachers = {name: teacher for name, teacher in loaded.items() if teacher is not None}
        if not teachers:
            return None
        alignment = cls(settings, teachers, checkpoint, songs)
        alignment.heads.to(device)
        return alignment

    @property
    def depths(self) -> tuple[int, ...]:
        """The blocks whose states are compared, one per teacher."""
        return self.heads.config.ssl_encoder_depths

    def audio(self, crops: Sequence[Crop]) -> TeacherAudio:
        """Read the audio of `crops` for every teacher.

        Raises:
            InputError: a recording is gone.
        """
        return {
            name: [torch.from_numpy(self._sounds.mono(crop, teacher.rate)) for crop in crops]
            for name, teacher in self._teachers.items()
        }

    def loss(
        self, flow: Tensor, states: Mapping[int, Tensor], lengths: Sequence[int] | None, audio: TeacherAudio
    ) -> Loss:
        """The loss of a step: the flow-matching loss, and the distances between hidden states and teachers' features.

        Args:
            flow: the flow-matching loss.
            states: hidden states (B, T, D) by depth.
            lengths: real frames of each row; None where all have T.
            audio: of the same rows.
        """
        features = {name: teacher.features(audio[name]) for name, teacher in self._teachers.items()}
        hidden = [states[depth] for depth in self.depths]
        if lengths is None:
            distances = self.heads(hidden, features)
        else:  # row by row without padding, as the comparison stretches hidden states to the features' length
            rows = [
                self.heads(
                    [depth_states[row : row + 1, :length] for depth_states in hidden],
                    {name: [teacher_features[row]] for name, teacher_features in features.items()},
                )
                for row, length in enumerate(lengths)
            ]
            distances = {name: torch.stack([row[name] for row in rows]).mean() for name in features}
        weights = {name: teacher.weight for name, teacher in self._settings.teachers.items()}
        return combine(flow, distances, self._settings.coefficient, weights)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the heads that the checkpoint's config names, under their published names."""
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
                raise InputError("none given, and the checkpoint's config does not name the teacher", where=where)
            depth = config.ssl_encoder_depths[config.ssl_names.index(name)]
        if depth >= config.num_layers:
            raise InputError(f"{depth}", where=where, allowed=f"0 to {config.num_layers - 1}")
        return depth

    def _width(self, name: str) -> int:
        config, width = self._published, self._teachers[name].width
        if name in config.ssl_names:
            published = config.ssl_latent_dims[config.ssl_names.index(name)]
            if width != published:
                allowed = f"{published}, as in the checkpoint's config"
                raise InputError(f"features of {width} channels", where=f"repa.teachers.{name}", allowed=allowed)
        return width

    def _load_published_heads(self, checkpoint: Checkpoint) -> None:
        """Start from the checkpoint's heads, where it has them."""
        stored = set(checkpoint.shapes(TRANSFORMER))
        for name, head in self._named_heads().items():
            if name in self._published.ssl_names:
                prefix = f"projectors.{self._published.ssl_names.index(name)}."
                names = {f"{prefix}{key}" for key in head.state_dict()}
                if names <= stored:
                    tensors = checkpoint.load(TRANSFORMER, names)
                    head.load_state_dict({key.removeprefix(prefix): tensor for key, tensor in tensors.items()})
