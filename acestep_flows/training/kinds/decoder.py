"""Train the network of the spectral vocoder: log-mel to magnitudes. Griffin-Lim, which follows it, has no weights.

The loss is the error of the log-magnitudes, that of the magnitudes, in which loud partials count more, and that of the
log-mel of the magnitudes. With a trained autoencoder, some mels pass through it first, as the vocoder's inputs do at
inference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from acestep_flows.errors import InputError
from acestep_flows.model.layout import VOCODER
from acestep_flows.model.mel import FILTERS, POWER_EPSILON, WINDOW
from acestep_flows.model.spectral_vocoder import SpectralVocoder
from acestep_flows.training.data.clips import ClipSettings, ClipSource
from acestep_flows.training.kinds.autoencoder import (
    SIZE,
    autoencoder_digest,
    load_autoencoder,
    make_log_mel,
    scale_mel,
    unscale_mel,
)
from acestep_flows.training.loop.content_stamp import json_digest
from acestep_flows.training.loop.export_part import read_config, write_part
from acestep_flows.training.loop.picture import compare_mels
from acestep_flows.training.loop.precision import autocast
from acestep_flows.training.loop.recipe import RecipeSection, TrainingRecipe
from acestep_flows.values import MEL_FRAMES_PER_LATENT, MEL_HOP, MODEL_RATE, Audio

FLOOR = 1e-5
"""Least mel value before the logarithm, as in the log-mel transform."""


class DecoderLosses(RecipeSection):
    """The `loss` section: weights of the terms beside the absolute error of log-magnitudes."""

    magnitudes: float = Field(0.5, ge=0, description="Absolute error of magnitudes.")
    mel: float = Field(0.5, ge=0, description="Absolute error of the log-mel of the magnitudes.")


class DecoderRecipe(TrainingRecipe):
    """Recipe of the spectral vocoder."""

    kind: Literal["decoder"] = "decoder"
    architecture: str = Field("nano", description="'nano', a config.json, or a checkpoint folder with one.")
    source: ClipSettings = ClipSettings()
    autoencoder: Path | None = Field(None, description="Folder of a trained autoencoder to pass mels through.")
    heard: float = Field(0.5, ge=0, le=1, description="Share of batches passed through the autoencoder.")
    frames: int = Field(64, gt=0, description="Mel frames per cut.")
    batch: int = Field(8, gt=0, description="Stereo cuts per batch.")
    loss: DecoderLosses = DecoderLosses()


RECIPE = DecoderRecipe


class DecoderTask:
    """Trains the magnitude network. Each channel of a clip is an item of its own, as the network has one channel.

    Raises:
        InputError: the architecture, the autoencoder or the clips do not fit the recipe.
    """

    def __init__(self, recipe: DecoderRecipe, device: str) -> None:
        self.device, self._recipe = device, recipe
        self._config = read_config(recipe.architecture, VOCODER)
        if self._config["_class_name"] != "SpectralVocoder":
            raise InputError(f"class {self._config['_class_name']}", where="architecture", allowed="SpectralVocoder")
        torch.manual_seed(recipe.seed)
        self._mel = make_log_mel().to(device)
        self._vocoder = SpectralVocoder(self._config, self._mel.window, self._mel.filters).to(device)
        self._autoencoder = load_autoencoder(recipe.autoencoder, device) if recipe.autoencoder else None
        self._source = ClipSource(recipe.source)
        if self._autoencoder is not None and recipe.frames % MEL_FRAMES_PER_LATENT:
            raise InputError(f"{recipe.frames}", where="frames", allowed=f"a multiple of {MEL_FRAMES_PER_LATENT}")
        if recipe.frames * MEL_HOP + SIZE - MEL_HOP > recipe.source.samples:
            raise InputError(f"{recipe.frames}", where="frames", allowed="shorter than the clips")

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Make clips in advance while the block runs."""
        with self._source.filling():
            yield

    def modules(self) -> dict[str, nn.Module]:
        return {"network": self._vocoder.network}

    def batch(self, index: int) -> Tensor:
        """Cuts (B, 2, n) in -1..1, with the context of their outer frames."""
        return torch.from_numpy(self._source.cuts(self._recipe.seed, index, *self._shape))

    @property
    def _shape(self) -> tuple[int, int]:
        """The number of cuts in a batch, and their samples."""
        return self._recipe.batch, self._recipe.frames * MEL_HOP + SIZE - MEL_HOP

    def content(self) -> Mapping[str, str]:
        """Digests of what clips are made from, of the network's config, and of the autoencoder's weights."""
        digests = {**self._source.content, "architecture": json_digest(self._config)}
        if self._recipe.autoencoder is not None:
            digests["autoencoder"] = autoencoder_digest(self._recipe.autoencoder)
        return digests

    def former_content(self) -> Mapping[str, str]:
        return self._source.former_content

    def describe(self, index: int) -> str:
        return self._source.describe(self._recipe.seed, index, *self._shape)

    def loss(self, batch: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            samples = batch.to(self.device).flatten(0, 1)
            target = (self._vocoder.spectrum(samples).abs().square() + POWER_EPSILON).sqrt()
            mel = self._mel.unpadded(samples)
            inputs = mel
            if self._autoencoder is not None and float(torch.rand(())) < self._recipe.heard:
                inputs = self._autoencode(mel.unflatten(0, (-1, 2))).flatten(0, 1)
        predicted: Tensor = self._vocoder.network(inputs).float()
        magnitudes = predicted.clamp_max(math.log(4 * SIZE)).exp()
        mel_of_magnitudes = (magnitudes @ self._vocoder.network.filters).clamp_min(FLOOR).log()
        terms = {
            "log": (predicted - target.log()).abs().mean(),
            "magnitudes": (magnitudes - target).abs().mean(),
            "mel": (mel_of_magnitudes - mel.mT).abs().mean(),
        }
        weights = self._recipe.loss
        total = terms["log"] + weights.magnitudes * terms["magnitudes"] + weights.mel * terms["mel"]
        return {"loss": total, **terms}

    def preview(self, folder: Path, step: int) -> Mapping[str, float]:
        """Measure the mel error of decoded held-out clips. Writes pictures and audio of the first ones.

        "mel_l1" is for the clips' own mels, "mel_l1_heard" for mels that passed through the autoencoder.
        """
        from acestep_flows.audio import write

        errors: dict[str, list[float]] = {"mel_l1": [], "mel_l1_heard": []}
        for index, clip in enumerate(self._source.held_out(4)):
            length = clip.shape[1] // (MEL_HOP * MEL_FRAMES_PER_LATENT) * MEL_HOP * MEL_FRAMES_PER_LATENT
            mel = self._mel(torch.tensor(clip[:, :length], device=self.device))
            autoencoded = mel if self._autoencoder is None else self._autoencode(mel[None])[0]
            for name, source in (("mel_l1", mel), ("mel_l1_heard", autoencoded)):
                samples = self._vocoder.decode(source.cpu().numpy())
                decoded = self._mel(torch.tensor(samples, device=self.device))
                errors[name].append(float((decoded - source).abs().mean()))
                if index < 2 and source is autoencoded:
                    mels = {"clip": mel[0].cpu().numpy(), "decoded": decoded[0].cpu().numpy()}
                    compare_mels(folder / f"clip-{index}.png", mels)
                    write.audio(folder / f"clip-{index}.wav", Audio(samples, MODEL_RATE))
                if self._autoencoder is None:
                    break
        return {name: float(np.mean(values)) for name, values in errors.items() if values}

    def export(self, folder: Path) -> None:
        """Write `folder/music_vocoder/`: the network, and the mel transform under its published names."""
        tensors = dict(self._vocoder.network.state_dict())
        tensors |= {WINDOW: self._mel.window, FILTERS: self._mel.filters}
        write_part(folder, VOCODER, self._config, tensors, exact=(WINDOW, FILTERS))

    def _autoencode(self, mel: Tensor) -> Tensor:
        """Pass a log-mel (B, 2, bands, F) through the autoencoder."""
        assert self._autoencoder is not None
        with autocast(self.device, self._recipe.loop.precision):
            decoded: Tensor = self._autoencoder.decoder(self._autoencoder.encoder(scale_mel(mel)))
        return unscale_mel(decoded.float())


def build(recipe: DecoderRecipe, device: str) -> DecoderTask:
    """Make the task of `recipe`."""
    return DecoderTask(recipe, device)
