"""Audio teachers for REPA: frozen pretrained models whose features the transformer's hidden states are aligned with.

A teacher takes mono audio at its own rate, normalised over the whole excerpt and cut into chunks. Its features are the
last hidden states of all chunks in order (spec 05 section 4). Teachers are read from this machine only. One that is
not here is left out, with a warning that says how to get it.
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
    """A teacher of the published model: name on the hub, sampling rate in Hz, seconds per chunk."""

    model: str
    rate: int
    chunk: float


PUBLISHED = {
    "mert": PublishedTeacher("m-a-p/MERT-v1-330M", 24_000, 5.0),
    "m-hubert": PublishedTeacher("utter-project/mHuBERT-147", 16_000, 30.0),
}


class TeacherSettings(RecipeSection):
    """One teacher. The teachers of the published model need no settings."""

    model: str | None = Field(None, description="A folder, or the name of a downloaded model on the hub.")
    rate: int | None = Field(None, gt=0, description="Its sampling rate in Hz.")
    chunk: float | None = Field(None, gt=0, description="Seconds per chunk.")
    depth: int | None = Field(None, ge=0, description="Block whose states are compared; absent: the checkpoint's.")
    weight: float = Field(1.0, ge=0, description="Weight of its distance.")
    remote_code: bool = Field(False, description="Run the code beside its weights, which MERT needs.")


class Teacher:
    """A frozen model for audio at `rate` Hz. Its features have `width` channels. `chunk` is in seconds."""

    def __init__(self, model: nn.Module, rate: int, chunk: float) -> None:
        self._model = model.eval().requires_grad_(False)
        config: Any = model.config
        self.rate, self.width = rate, int(config.hidden_size)
        self._chunk = round(chunk * rate)
        self._stride = math.prod(config.conv_stride)

    @torch.no_grad()
    def features(self, waves: Sequence[Tensor]) -> list[Tensor]:
        """Features (frames, width) of each mono wave (n,) at `rate`, on the teacher's device."""
        device = next(self._model.parameters()).device
        wave_chunks = [normalise(wave.to(device)).split(self._chunk) for wave in waves]
        padded = [F.pad(chunk, (0, self._chunk - len(chunk))) for chunks in wave_chunks for chunk in chunks]
        with torch.autocast(device.type, enabled=False):
            states = iter(self._model(torch.stack(padded)).last_hidden_state)
        # Cut off the padding of a last chunk. The convolutions give one frame less for a full chunk.
        return [
            torch.cat([next(states)[: -(-len(chunk) // self._stride)] for chunk in chunks]) for chunks in wave_chunks
        ]


def normalise(wave: Tensor) -> Tensor:
    """Shift and scale a wave (n,) to mean 0 and variance 1, in float32."""
    wave = wave.float()
    return (wave - wave.mean()) / (wave.var() + EPSILON).sqrt()


def load_teacher(name: str, settings: TeacherSettings, device: str) -> Teacher | None:
    """Load the teacher called `name`. None, with a warning, where this machine does not have it or it cannot be read.

    Raises:
        InputError: the settings lack model, rate or chunk, and the published model has no teacher of that name.
    """
    published = PUBLISHED.get(name)
    model = settings.model or (published and published.model)
    rate = settings.rate or (published and published.rate)
    chunk = settings.chunk or (published and published.chunk)
    if not model or not rate or not chunk:
        allowed = f"model, rate and chunk, or one of {', '.join(PUBLISHED)}"
        raise InputError("an unknown teacher", where=f"repa.teachers.{name}", allowed=allowed)
    try:
        network = _read(model, settings.remote_code)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        log.warning(
            "teacher %s is left out: %s cannot be read from this machine (%s). `hf download %s` gets it; "
            "`repa.teachers.%s.model` may name a folder",
            *(name, model, reason, model, name),
        )
        return None
    return Teacher(network.to(device), rate, chunk)


def _read(model: str, remote_code: bool) -> nn.Module:
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": remote_code}
    config = AutoConfig.from_pretrained(model, **options)
    if not hasattr(config, "conv_pos_batch_norm"):  # MERT's own config class is older than this key of its base
        config.conv_pos_batch_norm = False
    network: nn.Module = AutoModel.from_pretrained(model, config=config, dtype=torch.float32, **options)
    return network
