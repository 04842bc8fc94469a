"""A vocoder without a waveform network: magnitudes from the mel, phases by Griffin-Lim.

    log-mel (128)  ->  non-negative least squares  ->  a small ConvNeXt adds detail  ->  magnitudes (1025)
    magnitudes     ->  phases that follow the peaks  ->  fast Griffin-Lim  ->  waveform

It has the interface of `vocoder.Vocoder` and takes its place in a checkpoint whose `music_vocoder/config.json` names
the class "SpectralVocoder". A small network of this kind is trained in minutes where a waveform generator takes days;
what it lacks is the crispness of learnt phases. The same mel gives the same waveform: nothing in it is drawn at random.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep_flows.compatibility import Compatibility
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.layout import VOCODER, Config
from acestep_flows.model.mel import FILTERS, POWER_EPSILON, WINDOW
from acestep_flows.model.placement import Placement
from acestep_flows.values import FloatArray

KERNEL = 7
UPDATES = 3
"""Multiplicative updates of the least squares: enough for a start that the network then corrects."""
MOMENTUM = 0.99
"""Of fast Griffin-Lim (Perraudin et al. 2013)."""
RISE = 0.5
"""Growth of a peak over two frames, in nepers, from which a sound counts as begun."""
MEL_CENTRE, MEL_SPREAD = -6.0, 3.0
BLOCK_FRAMES, HELD_FRAMES = 512, 16
"""Frames per block of the overlapped decode, and how many finished ones a block takes its phases up from."""


class Block(nn.Module):
    """ConvNeXt over time: (B, F, C) to the same."""

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
    """Log-mel (B, bands, F) to log-magnitudes (B, bins, F), as a correction of the least squares."""

    filters: Tensor

    def __init__(self, config: Config, filters: Tensor) -> None:
        super().__init__()
        bins, bands = filters.shape
        width = config["width"]
        self.register_buffer("filters", filters.float(), persistent=False)
        self.stem = nn.Conv1d(bands, width, KERNEL, padding=KERNEL // 2, padding_mode="replicate")
        self.blocks = nn.ModuleList(Block(width) for _ in range(config["blocks"]))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.out = nn.Linear(width, bins)
        nn.init.zeros_(self.out.weight)  # untrained, it is the least squares: already a vocoder
        nn.init.zeros_(self.out.bias)

    def forward(self, log_mel: Tensor) -> Tensor:
        base = invert_mel(log_mel, self.filters).clamp_min(math.sqrt(POWER_EPSILON)).log()
        x = self.stem(((log_mel - MEL_CENTRE) / MEL_SPREAD).to(self.stem.weight.dtype)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        correction: Tensor = self.out(self.norm(x)).transpose(1, 2)
        return base + correction.float()


class SpectralVocoder(nn.Module):
    """Stereo log-mel to a 44.1 kHz waveform.

    Args:
        config: the part's `config.json`; `iterations` are those of Griffin-Lim.
        window: (n_fft,) analysis window.
        filters: (n_fft // 2 + 1, bands) of the mel.

    Attributes:
        stacks: false: the channels of a song share their phases, so that those of another one must not be among them.
    """

    stacks = False
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
            overlap: work in blocks of 512 frames, each taking up the phases of the one before it, so that memory
                stays bounded.
            compatibility: of no effect; this class is not upstream's.
        """
        frames = log_mel.shape[-1]
        if not frames:
            return np.zeros((len(log_mel), 0), np.float32)
        return self._decode(log_mel, BLOCK_FRAMES if overlap else frames)

    @torch.inference_mode()
    def _decode(self, log_mel: FloatArray, block: int) -> FloatArray:
        mel = torch.tensor(log_mel, device=self.window.device)
        frames, size = mel.shape[-1], len(self.window)
        padded = torch.zeros(len(mel), (frames - 1) * self.hop + size, device=mel.device)
        for first in range(0, frames, block):
            last = min(first + block, frames)
            start = max(0, first - HELD_FRAMES)
            held = None
            if first:
                held = self.spectrum(padded[:, start * self.hop : (first - 1) * self.hop + size])
            span = slice(max(0, start - KERNEL * 4), min(frames, last + KERNEL * 4))
            magnitudes = self._magnitudes(mel[..., span])[..., start - span.start : last - span.start]
            signal = self._griffin_lim(magnitudes, held)
            # The held frames are finished, save what the last of them lack of the frames that follow.
            fresh = first - start
            padded[:, first * self.hop : (last - 1) * self.hop + size] = signal[:, fresh * self.hop :]
        edge = (size - self.hop) // 2
        waveform: FloatArray = padded[:, edge : edge + frames * self.hop].clamp(-1, 1).cpu().numpy()
        return waveform

    def _magnitudes(self, mel: Tensor) -> Tensor:
        """(C, bins, F), without the floor that the mel was made with, and rescaled to give the mel again."""
        magnitudes = rescaled(self.network(mel).exp(), mel, self.network.filters)
        return (magnitudes.square() - POWER_EPSILON).clamp_min(0).sqrt()

    def _griffin_lim(self, magnitudes: Tensor, held: Tensor | None) -> Tensor:
        """A signal (C, n) whose spectrum has about these magnitudes; its first frames those of `held`."""
        phase = peak_phases(magnitudes.mean(dim=0), self.hop, len(self.window))
        known = 0 if held is None else held.shape[-1]
        if held is not None:
            offset = held[..., -1:].sum(dim=0).angle() - phase[:, known - 1 : known]
            phase = phase + offset
        spectrum = torch.polar(magnitudes, phase.expand_as(magnitudes))
        if held is not None:
            spectrum[..., :known] = held
        before = torch.zeros_like(spectrum)
        signal = self._synthesise(spectrum)
        for _ in range(self.iterations):
            rebuilt = self.spectrum(signal)
            leap = torch.lerp(before, rebuilt, 1 + MOMENTUM) if MOMENTUM else rebuilt
            before = rebuilt
            spectrum = magnitudes * leap / leap.abs().clamp_min(1e-8)
            if held is not None:
                spectrum[..., :known] = held
            signal = self._synthesise(spectrum)
        return signal

    def spectrum(self, signal: Tensor) -> Tensor:
        """Complex spectrum (C, bins, F) of samples (C, n) that bring their context along."""
        frames = signal.unfold(-1, len(self.window), self.hop) * self.window
        spectrum: Tensor = torch.fft.rfft(frames).transpose(1, 2)
        return spectrum

    def _synthesise(self, spectrum: Tensor) -> Tensor:
        """(C, bins, F) to (C, n): overlap-add, each sample divided by the weight of the windows over it."""
        size = len(self.window)
        pieces = torch.fft.irfft(spectrum.transpose(1, 2), n=size) * self.window
        total = _overlap_add(pieces, self.hop)
        weight = _overlap_add(self.window.square().expand(1, pieces.shape[1], size), self.hop)
        return total / weight.clamp_min(1e-3)


def load_spectral_vocoder(checkpoint: Checkpoint, placement: Placement) -> SpectralVocoder:
    """Read it. Griffin-Lim and the least squares stay in fp32; the network takes the placement's dtype."""
    tensors = checkpoint.load(VOCODER)
    window, filters = tensors.pop(WINDOW), tensors.pop(FILTERS)
    vocoder = SpectralVocoder(checkpoint.config(VOCODER), window, filters)
    vocoder.network.load_state_dict(tensors)
    vocoder.network.to(getattr(torch, placement.dtype))
    vocoder.network.filters = filters.float()
    return vocoder.eval().requires_grad_(False).to(placement.device)


def _overlap_add(pieces: Tensor, hop: int) -> Tensor:
    """(C, F, size) to (C, (F - 1) * hop + size), where hop divides size."""
    channels, frames, size = pieces.shape
    steps = size // hop
    total = pieces.new_zeros(channels, frames + steps - 1, hop)
    for step in range(steps):
        total[:, step : step + frames] += pieces[..., step * hop : (step + 1) * hop]
    return total.flatten(1)


def invert_mel(log_mel: Tensor, filters: Tensor, updates: int = UPDATES) -> Tensor:
    """Magnitudes (B, bins, F) >= 0 whose mel is about `log_mel` (B, bands, F): multiplicative least squares."""
    mel = log_mel.float().exp()
    magnitudes = (filters @ mel) / filters.sum(dim=1, keepdim=True).clamp_min(1e-6) / filters.sum(dim=0).mean()
    gram = filters @ filters.T
    wanted = filters @ mel
    for _ in range(updates):
        magnitudes = magnitudes * wanted / (gram @ magnitudes).clamp_min(1e-8)
    return magnitudes


def rescaled(magnitudes: Tensor, log_mel: Tensor, filters: Tensor) -> Tensor:
    """`magnitudes` (B, bins, F), each bin multiplied by what its bands lack of `log_mel`."""
    lacking = log_mel.exp() / (filters.T @ magnitudes).clamp_min(1e-8)
    weight = filters.sum(dim=1, keepdim=True)
    factor = (filters @ lacking) / weight.clamp_min(1e-12)
    return magnitudes * torch.where(weight > 1e-9, factor, torch.ones_like(factor))


def peak_phases(magnitudes: Tensor, hop: int, size: int) -> Tensor:
    """Phases (bins, F) of sinusoids at the peaks of `magnitudes` (bins, F), running on from frame to frame.

    Each bin takes the frequency of the peak it belongs to, refined between bins by a parabola (single pass spectrum
    inversion, Beauregard et al. 2015); phases are the sum of their advances since the peak last rose. So a change at
    one place of a song is forgotten with the sounds that it is heard in, and the rest stays as it was.
    """
    bins, frames = magnitudes.shape
    level = magnitudes.clamp_min(1e-8).log()
    inner = level[1:-1]
    peak = F.pad((inner > level[:-2]) & (inner >= level[2:]), (0, 0, 1, 1))
    curvature = level[:-2] - 2 * inner + level[2:]
    shift = 0.5 * (level[:-2] - level[2:]) / curvature.clamp_max(-1e-6)
    place = torch.arange(bins, device=level.device, dtype=level.dtype)[:, None].expand(bins, frames).clone()
    place[1:-1] += shift.clamp(-0.5, 0.5)
    # Every bin belongs to the nearest peak below or above it.
    index = torch.arange(bins, device=level.device)[:, None].expand(bins, frames)
    below = torch.where(peak, index, torch.zeros_like(index)).cummax(dim=0).values
    above = torch.where(peak, index, torch.full_like(index, bins - 1)).flip(0).cummin(dim=0).values.flip(0)
    nearest = torch.where(index - below <= above - index, below, above)
    frequency = place.gather(0, nearest)
    advance = (2 * math.pi * hop / size) * frequency.double()
    total = torch.cumsum(advance, dim=1)
    rise = F.pad(level[:, 2:] - level[:, :-2], (1, 1)).gather(0, nearest)
    time = torch.arange(frames, device=level.device).expand(bins, frames)
    begun = torch.where(rise > RISE, time, torch.zeros_like(time)).cummax(dim=1).values
    phase = total - total.gather(1, begun)
    # Neighbours inside a lobe of the Hann window's spectrum alternate in sign.
    return (phase + math.pi * ((index - nearest).abs() % 2)).remainder(2 * math.pi).float()
