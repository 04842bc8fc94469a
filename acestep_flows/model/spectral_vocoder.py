"""A vocoder without a waveform network: magnitudes from the mel, phases by Griffin-Lim.

    log-mel (128)  ->  non-negative least squares  ->  a small ConvNeXt adds detail  ->  magnitudes (1025)
    magnitudes     ->  phases that follow the peaks  ->  fast Griffin-Lim  ->  waveform

It has the interface of `vocoder.Vocoder` and replaces it in a checkpoint whose `music_vocoder/config.json` names the
class "SpectralVocoder". A small network of this kind trains in minutes where a waveform generator takes days, but
attacks are softer than with learnt phases. Nothing is random: the same mel gives the same waveform.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep_flows.model import griffin_lim
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.layout import VOCODER, Config
from acestep_flows.model.mel import FILTERS, POWER_EPSILON, WINDOW
from acestep_flows.model.placement import Placement
from acestep_flows.values import Compatibility, FloatArray

KERNEL = 7
UPDATES = 3
"""Multiplicative updates of the least squares. The network corrects what they leave."""
MEL_CENTRE, MEL_SPREAD = -6.0, 3.0
"""Log-mels are normalised for the network as (mel - centre) / spread."""
BLOCK_FRAMES, PREFIX_FRAMES = 512, 16
"""Frames per block of the overlapped decode, and finished frames from which a block continues the phases."""


class ConvNeXtBlock(nn.Module):
    """A ConvNeXt block over time: (B, F, C) to (B, F, C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x.transpose(1, 2)).transpose(1, 2))
        residual: Tensor = self.contract(F.gelu(self.expand(y)))
        return x + self.scale * residual


class MagnitudeNetwork(nn.Module):
    """Log-mel (B, bands, F) to log-magnitudes (B, F, bins): the least squares plus a learned correction."""

    filters: Tensor

    def __init__(self, config: Config, filters: Tensor) -> None:
        super().__init__()
        bins, bands = filters.shape
        width = config["width"]
        self.register_buffer("filters", filters.float(), persistent=False)
        self.stem = nn.Conv1d(bands, width, KERNEL, padding=KERNEL // 2, padding_mode="replicate")
        self.blocks = nn.ModuleList(ConvNeXtBlock(width) for _ in range(config["blocks"]))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.out = nn.Linear(width, bins)
        nn.init.zeros_(self.out.weight)  # an untrained network gives the least squares, which is already a vocoder
        nn.init.zeros_(self.out.bias)

    def forward(self, log_mel: Tensor) -> Tensor:
        base = invert_mel(log_mel.mT, self.filters).clamp_min(math.sqrt(POWER_EPSILON)).log()
        x = self.stem(((log_mel - MEL_CENTRE) / MEL_SPREAD).to(self.stem.weight.dtype)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        correction: Tensor = self.out(self.norm(x))
        return base + correction.float()


class SpectralVocoder(nn.Module):
    """Decodes a stereo log-mel to a 44.1 kHz waveform.

    Args:
        config: the part's `config.json`; `iterations` are those of Griffin-Lim.
        window: (n_fft,) analysis window.
        filters: (n_fft // 2 + 1, bands) mel filters.

    Attributes:
        channels_independent: false, because the channels of a batch share their phases. Only the channels of one
            song may be decoded together.
    """

    channels_independent = False
    window: Tensor

    def __init__(self, config: Config, window: Tensor, filters: Tensor) -> None:
        super().__init__()
        self.hop: int = config["hop_length"]
        self.iterations: int = config["iterations"]
        self.network = MagnitudeNetwork(config, filters)
        self.register_buffer("window", window.float(), persistent=False)

    def decode(
        self, log_mel: FloatArray, *, overlap: bool = False, compatibility: Compatibility = "corrected"
    ) -> FloatArray:
        """Waveform (2, F * 512) at 44.1 kHz of a stereo `log_mel` (2, 128, F).

        Args:
            overlap: work in blocks of 512 frames, so that memory stays bounded. Each block continues the phases of
                the block before.
            compatibility: no effect, because upstream has no such vocoder.
        """
        frames = log_mel.shape[-1]
        if not frames:
            return np.zeros((len(log_mel), 0), np.float32)
        waveform = torch.empty(len(log_mel), frames * self.hop, device=self.window.device)
        begin = 0
        for part in self._parts(log_mel, BLOCK_FRAMES if overlap else frames):
            end = begin + part.shape[-1]
            waveform[:, begin:end] = part
            begin = end
        samples: FloatArray = waveform.cpu().numpy()
        return samples

    def parts(self, log_mel: FloatArray, *, overlap: bool = False) -> Iterator[FloatArray]:
        """What `decode` gives as consecutive parts (2, any), so that a processor need not hold the whole."""
        if overlap and self.window.device.type == "cpu":
            return (part.numpy() for part in self._parts(log_mel, BLOCK_FRAMES))
        return iter([self.decode(log_mel, overlap=overlap)])

    @torch.inference_mode()
    def _parts(self, log_mel: FloatArray, block: int) -> Iterator[Tensor]:
        """Consecutive parts of the waveform, from blocks of so many frames."""
        frames, size = log_mel.shape[-1], len(self.window)
        edge = (size - self.hop) // 2
        finished: Tensor | None = None
        prefix: Tensor | None = None
        for first in range(0, frames, block):
            last = min(first + block, frames)
            start = max(0, first - PREFIX_FRAMES)
            if finished is not None:
                prefix = self.spectrum(finished[:, (start - first) * self.hop - (size - self.hop) :])
            span = slice(max(0, start - KERNEL * 4), min(frames, last + KERNEL * 4))
            magnitudes = self._magnitudes(torch.tensor(log_mel[..., span], device=self.window.device))[
                :, start - span.start : last - span.start
            ]
            signal = griffin_lim.griffin_lim(magnitudes, self.window, self.hop, self.iterations, prefix)
            # Frames of the prefix are finished, except where the new frames overlap the last of them.
            finished = signal[:, (first - start) * self.hop :]
            end = (last - first) * self.hop
            # The edges of the whole are no samples of the song. The last samples of a block are its neighbour's.
            yield finished[:, 0 if first else edge : end if last < frames else end + edge].clamp(-1, 1)

    def _magnitudes(self, mel: Tensor) -> Tensor:
        """Magnitudes (C, F, bins) of a log-mel (C, bands, F), rescaled to match it, without the mel's epsilon."""
        magnitudes = rescale_to_mel(self.network(mel).exp(), mel.mT, self.network.filters)
        return (magnitudes.square() - POWER_EPSILON).clamp_min(0).sqrt()

    def spectrum(self, signal: Tensor) -> Tensor:
        """Complex spectrum (C, F, bins) of samples (C, n) that include the context of the outer frames."""
        return griffin_lim.spectrum(signal, self.window, self.hop)


def load_spectral_vocoder(checkpoint: Checkpoint, placement: Placement) -> SpectralVocoder:
    """Read the vocoder. Griffin-Lim and the least squares stay fp32; the network gets the placement's dtype.

    Raises:
        CheckpointError: the weights file has changed since the checkpoint was opened.
    """
    tensors = checkpoint.load(VOCODER)
    window, filters = tensors.pop(WINDOW), tensors.pop(FILTERS)
    vocoder = SpectralVocoder(checkpoint.config(VOCODER), window, filters)
    vocoder.network.load_state_dict(tensors)
    vocoder.network.to(getattr(torch, placement.dtype))
    vocoder.network.filters = filters.float()
    return vocoder.eval().requires_grad_(False).to(placement.device)


def invert_mel(log_mel: Tensor, filters: Tensor, updates: int = UPDATES) -> Tensor:
    """Magnitudes (B, F, bins) >= 0 whose mel is about `log_mel` (B, F, bands), by multiplicative least squares.

    Args:
        filters: (bins, bands) mel filters.
        updates: number of multiplicative updates.
    """
    spread = filters.T.contiguous()
    target = log_mel.float().exp() @ spread
    magnitudes = target / spread.sum(dim=0).clamp_min(1e-6) / spread.sum(dim=1).mean()
    for _ in range(updates):
        magnitudes = magnitudes * target / (magnitudes @ filters @ spread).clamp_min(1e-8)
    return magnitudes


def rescale_to_mel(magnitudes: Tensor, log_mel: Tensor, filters: Tensor) -> Tensor:
    """Multiply each bin of `magnitudes` (B, F, bins) by the ratio of `log_mel` (B, F, bands) to their mel."""
    ratio = log_mel.exp() / (magnitudes @ filters).clamp_min(1e-8)
    weight = filters.sum(dim=1)
    factor = (ratio @ filters.T) / weight.clamp_min(1e-12)
    return magnitudes * torch.where(weight > 1e-9, factor, torch.ones_like(factor))
