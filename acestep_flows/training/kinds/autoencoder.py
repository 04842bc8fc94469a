"""Train the music autoencoder: log-mel to standardised latents and back.

The published constants fix the latent space. So a regulariser keeps the mean and the standard deviation of every
channel of the normalised latents near 0 and 1. Noise on the latents makes the decoder robust against the errors of a
diffusion model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from acestep_flows.errors import InputError
from acestep_flows.model.autoencoder import LATENT_SCALE, LATENT_SHIFT, MEL_HIGH, MEL_LOW
from acestep_flows.model.checkpoint import weights_file
from acestep_flows.model.layout import AUTOENCODER, LAYOUTS, class_name
from acestep_flows.model.mel import LogMel, mel_filters
from acestep_flows.training.data.clips import ClipSettings, ClipSource
from acestep_flows.training.loop.content_stamp import json_digest
from acestep_flows.training.loop.export_part import read_config, write_part
from acestep_flows.training.loop.picture import compare_mels
from acestep_flows.training.loop.precision import autocast
from acestep_flows.training.loop.recipe import RecipeSection, TrainingRecipe
from acestep_flows.values import MEL_FRAMES_PER_LATENT, MEL_HOP, MODEL_RATE, SAMPLES_PER_FRAME

SPAN = MEL_HIGH - MEL_LOW
SIZE = 2048
"""Samples of the analysis window. A cut has SIZE - hop samples of context, so that no frame reaches past its edge."""


class AutoencoderLosses(RecipeSection):
    """The `loss` section: weights of the terms beside the absolute error, in units of the log-mel (1 is 8.7 dB)."""

    slopes: float = Field(0.25, ge=0, description="Absolute error of differences along time and frequency.")
    squares: float = Field(0.5, ge=0, description="Squared error.")
    latents: float = Field(0.2, ge=0, description="Distance of latent channels from mean 0, deviation 1.")
    noise: float = Field(0.1, ge=0, description="Largest deviation of noise on the latents.")


class AutoencoderRecipe(TrainingRecipe):
    """Recipe of the autoencoder."""

    kind: Literal["autoencoder"] = "autoencoder"
    architecture: str = Field("nano", description="'nano', a config.json, or a checkpoint folder with one.")
    start: Path | None = Field(None, description="Folder of the weights to start from; absent: random weights.")
    source: ClipSettings = ClipSettings()
    crops: tuple[int, ...] = Field((128, 128, 128, 512), description="Mel frames per cut; batches take these in turn.")
    frames_per_batch: int = Field(1024, gt=0, description="Mel frames per batch; shorter cuts make more rows.")
    loss: AutoencoderLosses = AutoencoderLosses()

    @field_validator("crops")
    @classmethod
    def _whole(cls, crops: tuple[int, ...]) -> tuple[int, ...]:
        if not crops or any(crop <= 0 or crop % MEL_FRAMES_PER_LATENT for crop in crops):
            raise ValueError(f"{list(crops)} must be multiples of {MEL_FRAMES_PER_LATENT} frames")
        return crops


RECIPE = AutoencoderRecipe


class AutoencoderTask:
    """Trains encoder and decoder of diffusers' `AutoencoderDC` together.

    Raises:
        InputError: the architecture, the weights to start from, or the clips do not fit the recipe.
    """

    def __init__(self, recipe: AutoencoderRecipe, device: str) -> None:
        from diffusers import AutoencoderDC

        self.device, self._recipe = device, recipe
        self._config = read_config(recipe.architecture, AUTOENCODER)
        torch.manual_seed(recipe.seed)
        self._network: Any = AutoencoderDC.from_config(dict(self._config))  # type: ignore[no-untyped-call]
        _standardise(self._network)
        if recipe.start:
            _read_weights(self._network, self._config, recipe.start)
        _speed_up_depthwise(self._network)
        self._network.to(device, memory_format=torch.channels_last)
        self._mel = make_log_mel().to(device)
        self._source = ClipSource(recipe.source)
        longest = max(recipe.crops) * MEL_HOP + SIZE - MEL_HOP
        if longest > recipe.source.samples:
            raise InputError(f"cuts of {max(recipe.crops)} frames", where="crops", allowed="shorter than the clips")

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Make clips in advance while the block runs."""
        with self._source.filling():
            yield

    def modules(self) -> dict[str, nn.Module]:
        return {"autoencoder": self._network}

    def batch(self, index: int) -> Tensor:
        """Cuts (B, 2, n) in -1..1, with the context of their outer frames."""
        return torch.from_numpy(self._source.cuts(self._recipe.seed, index, *self._shape(index)))

    def _shape(self, index: int) -> tuple[int, int]:
        """The number of cuts in batch `index`, and their samples."""
        frames = self._recipe.crops[index % len(self._recipe.crops)]
        return max(1, self._recipe.frames_per_batch // frames), frames * MEL_HOP + SIZE - MEL_HOP

    def content(self) -> Mapping[str, str]:
        """Digests of what clips are made from, and of the network's config."""
        return {**self._source.content, "architecture": json_digest(self._config)}

    def former_content(self) -> Mapping[str, str]:
        return self._source.former_content

    def describe(self, index: int) -> str:
        return self._source.describe(self._recipe.seed, index, *self._shape(index))

    def loss(self, batch: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            target = self._mel.unpadded(batch.to(self.device).flatten(0, 1)).unflatten(0, batch.shape[:2])
        weights = self._recipe.loss
        inputs = scale_mel(target).contiguous(memory_format=torch.channels_last)
        latents = normalise_latents(self._network.encoder(inputs).float())
        amount = weights.noise * torch.rand(len(latents), 1, 1, 1, device=latents.device)
        noisy = latents + amount * torch.randn_like(latents)
        error = unscale_mel(self._network.decoder(_denormalise(noisy)).float()) - target
        terms = {
            "mel": error.abs().mean(),
            "slopes": error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean(),
            "squares": error.square().mean(),
            "latents": _standard_loss(latents),
        }
        total = terms["mel"] + weights.slopes * terms["slopes"] + weights.squares * terms["squares"]
        return {"loss": total + weights.latents * terms["latents"], **terms}

    def preview(self, folder: Path, step: int) -> Mapping[str, float]:
        """Measure the error on whole held-out clips, and the mean and deviation of their latents."""
        errors, squares, latents = [], [], []
        for index, clip in enumerate(self._source.held_out()):
            whole = clip[:, : clip.shape[1] // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME]
            mel = self._mel(torch.tensor(whole, device=self.device))[None]
            with autocast(self.device, self._recipe.loop.precision):
                raw = self._network.encoder(scale_mel(mel)).float()
                decoded = unscale_mel(self._network.decoder(raw).float())
            latents.append(normalise_latents(raw))
            errors.append(float((decoded - mel).abs().mean()))
            squares.append(float((decoded - mel).square().mean()))
            if index < 3:
                pair = {"clip": mel[0, 0].cpu().numpy(), "through the autoencoder": decoded[0, 0].cpu().numpy()}
                compare_mels(folder / f"clip-{index}.png", pair)
        spread = torch.cat(latents, dim=-1)
        return {
            "mel_l1": float(np.mean(errors)),
            "mel_rmse": float(np.sqrt(np.mean(squares))),
            "latent_mean_worst": float(spread.mean(dim=(0, 2, 3)).abs().max()),
            "latent_std_low": float(spread.std(dim=(0, 2, 3)).min()),
            "latent_std_high": float(spread.std(dim=(0, 2, 3)).max()),
        }

    def export(self, folder: Path) -> None:
        """Write `folder/music_dcae_f8c8/` in the published layout."""
        write_part(folder, AUTOENCODER, self._config, self._network.state_dict())


def build(recipe: AutoencoderRecipe, device: str) -> AutoencoderTask:
    """The task of `recipe`."""
    return AutoencoderTask(recipe, device)


def load_autoencoder(folder: Path, device: str) -> Any:
    """The trained network in `folder` (its own, or a whole checkpoint's), frozen.

    Raises:
        InputError: the files are missing, damaged, or do not fit the config.
    """
    from diffusers import AutoencoderDC

    config = read_config(str(folder), AUTOENCODER)
    network: nn.Module = AutoencoderDC.from_config(dict(config))  # type: ignore[no-untyped-call]
    _read_weights(network, config, folder)
    return network.eval().requires_grad_(False).to(device)


def autoencoder_digest(folder: Path) -> str:
    """sha256 of the autoencoder's weights file in `folder`, the part's folder or a whole checkpoint's."""
    with _weights_path(folder).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weights_path(folder: Path) -> Path:
    inner = folder / AUTOENCODER
    return (inner if inner.is_dir() else folder) / weights_file(AUTOENCODER)


def _read_weights(network: nn.Module, config: Mapping[str, Any], folder: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = _weights_path(folder)
    if not file.is_file():
        raise InputError("no weights", where=str(file), allowed="the folder of a trained autoencoder")
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise InputError(f"damaged: {error}", where=str(file)) from None
    expected = LAYOUTS[class_name(config)](config)
    if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != expected:
        raise InputError("weights of another architecture", where=str(file), allowed="that of the config")
    network.load_state_dict(tensors)


def make_log_mel() -> LogMel:
    """The log-mel transform of checkpoints made from scratch, with the published constants."""
    return LogMel(torch.hann_window(SIZE), mel_filters(SIZE // 2 + 1, 128, MODEL_RATE, 40, 16000), MEL_HOP)


def scale_mel(mel: Tensor) -> Tensor:
    """Scale a log-mel to the network's input range of about -1..1."""
    return 2 * (mel - MEL_LOW) / SPAN - 1


def unscale_mel(x: Tensor) -> Tensor:
    """Scale the network's output back to a log-mel."""
    return (0.5 * x + 0.5) * SPAN + MEL_LOW


def normalise_latents(z: Tensor) -> Tensor:
    """Normalise the encoder's output (B, 8, 16, T) to latents of mean 0 and deviation 1."""
    return (z - LATENT_SHIFT) * LATENT_SCALE


def _denormalise(latents: Tensor) -> Tensor:
    return latents / LATENT_SCALE + LATENT_SHIFT


class _WideDepthwise(nn.Conv2d):
    """A depthwise convolution in fp32, channels last: its backward pass is four times as fast on a CPU as in bf16."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float().contiguous(memory_format=torch.channels_last))


def _speed_up_depthwise(network: nn.Module) -> None:
    """Compute wide depthwise convolutions faster. Their results, names and weights stay the same."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels and module.kernel_size[0] > 3:
            module.__class__ = _WideDepthwise


def _standard_loss(latents: Tensor) -> Tensor:
    """The mean distance of the channels of latents (B, 8, 16, T) from mean 0 and deviation 1."""
    mean, deviation = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    return (mean.square() + deviation.clamp_min(1e-4).log().square()).mean()


@torch.no_grad()
def _standardise(network: Any) -> None:
    """Scale the outer convolutions so that untrained latents are near the published scale."""
    network.encoder.conv_out.weight.mul_(1 / LATENT_SCALE)
    network.encoder.conv_out.bias.fill_(LATENT_SHIFT)
    network.decoder.conv_in.weight.mul_(LATENT_SCALE)
