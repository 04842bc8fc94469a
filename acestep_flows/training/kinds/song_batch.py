"""What a training step over encoded songs learns from: one target per song, and the batch of all of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from acestep_flows.training.kinds.alignment import TeacherAudio
from acestep_flows.training.kinds.networks import WordTokens


@dataclass(frozen=True)
class SongTarget:
    """What is learnt of a song in one step.

    Attributes:
        track: the track to learn.
        prompt: its description.
        lyrics: its lyrics; "" for none.
        control: the track that a control branch hears; None without one.
    """

    track: str
    prompt: str
    lyrics: str
    control: str | None = None


@dataclass(frozen=True)
class SongBatch:
    """Songs to learn from in one step.

    Attributes:
        data: (B, 8, 16, T) latents, zeros beyond a row's end.
        lengths: frames of each row; None where all have T.
        words: prompts and lyrics of the rows.
        control: (B, 8, 16, T) latents of the control tracks, for control branches.
        controlled: (B,), 1 for rows that have a control track; None where all have one.
        teacher_audio: audio of the rows, for audio teachers.
    """

    data: Tensor
    lengths: tuple[int, ...] | None
    words: WordTokens
    control: Tensor | None = None
    teacher_audio: TeacherAudio | None = None
    controlled: Tensor | None = None

    @property
    def mask(self) -> Tensor:
        """(B, T), 1 on real frames."""
        rows, width = len(self.data), self.data.shape[-1]
        if self.lengths is None:
            return torch.ones(rows, width)
        return (torch.arange(width) < torch.tensor(self.lengths)[:, None]).float()
