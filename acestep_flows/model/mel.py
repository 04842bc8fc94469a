"""Log-mel spectrogram of 44.1 kHz audio, each channel separately (spec 04 section 3)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.layout import VOCODER
from acestep_flows.model.placement import Placement

LOG_FLOOR = 1e-5
POWER_EPSILON = 1e-6
FRAMES_AT_ONCE = 2048
"""Frames per transform. This bounds the spectrum in memory to some 50 MB for stereo audio of any length."""

WINDOW = "mel_transform.spectrogram.window"
FILTERS = "mel_transform.mel_scale.fb"


class LogMel(nn.Module):
    """Waveform (..., n) to log-mel (..., bands, n // hop), always in fp32.

    Window and filter bank come from the vocoder's file. The published ones are rounded to bfloat16; recomputed ones
    would differ from those of the autoencoder's training.

    Args:
        window: (n_fft,) analysis window.
        filters: (n_fft // 2 + 1, bands) triangular filters.
        hop: samples between frames.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, window: Tensor, filters: Tensor, hop: int) -> None:
        super().__init__()
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("filters", filters.float(), persistent=False)
        self.hop = hop

    @classmethod
    def load(cls, checkpoint: Checkpoint, placement: Placement) -> LogMel:
        """Read window and filter bank from the vocoder's weights file."""
        tensors = checkpoint.load(VOCODER, (WINDOW, FILTERS), device=placement.device)
        return cls(tensors[WINDOW], tensors[FILTERS], checkpoint.config(VOCODER)["hop_length"])

    def forward(self, samples: Tensor) -> Tensor:
        """Log-mel (..., bands, n // hop) of at least `n_fft` samples (..., n), reflected at both ends."""
        size = len(self.window)
        pad = (size - self.hop) // 2
        return self.unpadded(F.pad(samples.float(), (pad, pad), mode="reflect"))

    def unpadded(self, padded: Tensor) -> Tensor:
        """Log-mel of samples that already have their padding: F frames need (F - 1) * hop + n_fft samples."""
        size = len(self.window)
        frames = (padded.shape[-1] - size) // self.hop + 1
        blocks = []
        for first in range(0, frames, FRAMES_AT_ONCE):
            last = min(first + FRAMES_AT_ONCE, frames)
            blocks.append(self._transform(padded[..., first * self.hop : (last - 1) * self.hop + size]))
        return torch.cat(blocks, dim=-1)

    def _transform(self, padded: Tensor) -> Tensor:
        spectrum = torch.view_as_real(
            torch.stft(padded, len(self.window), self.hop, window=self.window, center=False, return_complex=True)
        )
        magnitude = spectrum.square().sum(-1).add(POWER_EPSILON).sqrt()  # (..., bins, frames)
        return (self.filters.T @ magnitude).clamp_min(LOG_FLOOR).log()


def mel_filters(bins: int, bands: int, sample_rate: int, low: float, high: float) -> Tensor:
    """Triangular filters (bins, bands) on Slaney's mel scale, each of area one. For checkpoints made from scratch.

    The scale is linear below 1 kHz (200 / 3 Hz per mel) and logarithmic above (27 mels for a factor of 6.4).
    """
    knee, hertz_per_mel, growth = 15.0, 200 / 3, math.log(6.4) / 27

    def mel(hertz: float) -> float:
        linear = hertz / hertz_per_mel
        return linear if linear < knee else knee + math.log(linear / knee) / growth

    mels = torch.linspace(mel(low), mel(high), bands + 2, dtype=torch.float64)
    edges = torch.where(mels < knee, mels, knee * ((mels - knee) * growth).exp()) * hertz_per_mel
    frequencies = torch.linspace(0, sample_rate / 2, bins, dtype=torch.float64)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (frequencies - left) / (centre - left), (right - frequencies) / (right - centre)
    return (torch.minimum(rising, falling).clamp_min(0) * (2 / (right - left))).float()
