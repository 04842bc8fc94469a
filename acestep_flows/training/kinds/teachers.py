"""Audio teachers: pretrained models whose view of a song the transformer's hidden states are pulled towards (REPA).

A teacher hears mono audio at its own rate, normalised over the whole excerpt and cut into chunks; its last hidden
states, chunk after chunk, are what is compared (spec 05 section 4). Teachers are read from this machine only: one that
is not here is left out with a notice that says how to get it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from acestep_flows.errors import InputError
from acestep_flows.training.loop.recipe import RecipeSection

log = logging.getLogger(__name__)

EPSILON = 1e-7


class PublishedTeacher(NamedTuple):
    """A teacher of the published model: where it is, sampling rate, seconds of a chunk."""

    model: str
    rate: int
    chunk: float


PUBLISHED = {
    "mert": PublishedTeacher("m-a-p/MERT-v1-330M", 24_000, 5.0),
    "m-hubert": PublishedTeacher("utter-project/mHuBERT-147", 16_000, 30.0),
}


class TeacherSettings(RecipeSection):
    """One teacher. For those of the published model everything has a default."""

    model: str | None = Field(None, description="A folder, or a name on the hub that has been downloaded.")
    rate: int | None = Field(None, gt=0, description="Sampling rate it hears at.")
    chunk: float | None = Field(None, gt=0, description="Seconds it hears at once.")
    depth: int | None = Field(None, ge=0, description="Block whose states are compared; absent: as in the checkpoint.")
    weight: float = Field(1.0, ge=0, description="Of its distance.")
    remote_code: bool = Field(False, description="Run the code that lies beside its weights, as MERT's needs.")


class Teacher:
    """A frozen model that hears audio at `rate`; its states have `width` channels."""

    def __init__(self, model: nn.Module, rate: int, chunk: float) -> None:
        self._model = model.eval().requires_grad_(False)
        config: Any = model.config
        self.rate, self.width = rate, int(config.hidden_size)
        self._chunk = round(chunk * rate)
        self._stride = math.prod(config.conv_stride)

    @torch.no_grad()
    def hear(self, waves: Sequence[Tensor]) -> list[Tensor]:
        """States (frames, width) of each mono wave (n,) at `rate`, on the teacher's device."""
        device = next(self._model.parameters()).device
        pieces = [normalised(wave.to(device)).split(self._chunk) for wave in waves]
        chunks = [F.pad(piece, (0, self._chunk - len(piece))) for cut in pieces for piece in cut]
        with torch.autocast(device.type, enabled=False):
            states = iter(self._model(torch.stack(chunks)).last_hidden_state)
        # A last chunk's padding is cut off again; the convolutions give one frame less of a full one.
        return [torch.cat([next(states)[: -(-len(piece) // self._stride)] for piece in cut]) for cut in pieces]


def normalised(wave: Tensor) -> Tensor:
    """A wave (n,) of mean 0 and variance 1."""
    wave = wave.float()
    return (wave - wave.mean()) / (wave.var() + EPSILON).sqrt()


def load_teacher(name: str, settings: TeacherSettings, device: str) -> Teacher | None:
    """The teacher called `name`; None, with a notice, where it is not on this machine or cannot be read.

    Raises:
        InputError: one that is not of the published model lacks its model, rate or chunk.
    """
    known = PUBLISHED.get(name)
    model = settings.model or (known and known.model)
    rate = settings.rate or (known and known.rate)
    chunk = settings.chunk or (known and known.chunk)
    if not model or not rate or not chunk:
        allowed = f"model, rate and chunk, or one of {', '.join(PUBLISHED)}"
        raise InputError("an unknown teacher", where=f"repa.teachers.{name}", allowed=allowed)
    try:
        found = _read(model, settings.remote_code)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        log.warning(
            "teacher %s is left out: %s cannot be read from this machine (%s). `hf download %s` brings it; "
            "`repa.teachers.%s.model` may name a folder",
            *(name, model, reason, model, name),
        )
        return None
    return Teacher(found.to(device), rate, chunk)


def _read(model: str, remote_code: bool) -> nn.Module:
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging as library

    library.disable_progress_bar()  # type: ignore[no-untyped-call]
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": remote_code}
    config = AutoConfig.from_pretrained(model, **local)
    if not hasattr(config, "conv_pos_batch_norm"):  # MERT's own config class is older than this key of its base
        config.conv_pos_batch_norm = False
    found: nn.Module = AutoModel.from_pretrained(model, config=config, dtype=torch.float32, **local)
    return found
