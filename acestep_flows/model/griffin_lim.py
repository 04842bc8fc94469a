"""Fast Griffin-Lim: phases for given magnitudes, and the short-time Fourier transform and its inverse.

Spectra are (C, F, bins), frames before bins: the layout of the Fourier transform, so nothing is transposed. Samples
include the context of the outer frames: F frames are (F - 1) * hop + size samples.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

MOMENTUM = 0.99
"""The acceleration parameter of fast Griffin-Lim (Perraudin et al. 2013)."""
RISE = 0.5
"""Growth of a peak over two frames, in nepers, above which a frame counts as an onset."""


def spectrum(signal: Tensor, window: Tensor, hop: int) -> Tensor:
    """Complex spectrum (C, F, bins) of samples (C, n), windowed by `window` (size,)."""
    transformed: Tensor = torch.fft.rfft(signal.unfold(-1, len(window), hop) * window)
    return transformed


def synthesise(spectrum: Tensor, window: Tensor, hop: int) -> Tensor:
    """Samples (C, n) of a spectrum (C, F, bins), by overlap-add divided by the sum of the squared windows."""
    size = len(window)
    pieces = torch.fft.irfft(spectrum, n=size).mul_(window)
    weight = _overlap_add(window.square().expand(1, pieces.shape[1], size), hop)
    return _overlap_add(pieces, hop).div_(weight.clamp_min_(1e-3))


def griffin_lim(magnitudes: Tensor, window: Tensor, hop: int, iterations: int, prefix: Tensor | None = None) -> Tensor:
    """Samples (C, n) whose spectrum has these approximate magnitudes (C, F, bins), by fast Griffin-Lim.

    Args:
        window: (size,) analysis and synthesis window.
        hop: samples between frames; it divides size.
        iterations: rounds of Griffin-Lim.
        prefix: complex (C, K, bins), the finished spectrum of the first K frames. The phases of the other frames
            continue from it.
    """
    phase = peak_phases(magnitudes.mean(dim=0), hop, len(window))
    if prefix is not None:
        known = prefix.shape[1]
        phase = phase + (prefix[:, -1:].sum(dim=0).angle() - phase[known - 1 : known])
    estimate = torch.polar(magnitudes, phase.expand_as(magnitudes).contiguous())
    previous = torch.zeros_like(estimate)
    for _ in range(iterations):
        projected = spectrum(_signal(estimate, prefix, window, hop), window, hop)
        estimate, previous = _with_magnitudes(magnitudes, _accelerate(previous, projected)), projected
    return _signal(estimate, prefix, window, hop)


def _signal(estimate: Tensor, prefix: Tensor | None, window: Tensor, hop: int) -> Tensor:
    """The samples of `estimate`, whose first frames are first set to `prefix` in place."""
    if prefix is not None:
        estimate[:, : prefix.shape[1]] = prefix
    return synthesise(estimate, window, hop)


def _accelerate(previous: Tensor, projected: Tensor) -> Tensor:
    """Extrapolate from the previous projection beyond the present one, overwriting `previous`."""
    torch.view_as_real(previous).lerp_(torch.view_as_real(projected), 1 + MOMENTUM)
    return previous


def _with_magnitudes(magnitudes: Tensor, estimate: Tensor) -> Tensor:
    """Set the magnitudes of `estimate`, keep its phases, and overwrite it.

    Real arithmetic takes a third of the time of complex arithmetic here.
    """
    real, imaginary = torch.view_as_real(estimate).unbind(-1)
    scale = torch.addcmul(real * real, imaginary, imaginary).clamp_min_(1e-16).rsqrt_().mul_(magnitudes)
    real.mul_(scale)
    imaginary.mul_(scale)
    return estimate


def _overlap_add(pieces: Tensor, hop: int) -> Tensor:
    """Add up frames (C, F, size) to (C, (F - 1) * hop + size); hop divides size."""
    channels, frames, size = pieces.shape
    steps = size // hop
    total = pieces.new_zeros(channels, frames + steps - 1, hop)
    for step in range(steps):
        total[:, step : step + frames] += pieces[..., step * hop : (step + 1) * hop]
    return total.flatten(1)


def peak_phases(magnitudes: Tensor, hop: int, size: int) -> Tensor:
    """Phases (F, bins) of sinusoids at the peaks of `magnitudes` (F, bins), continuous from frame to frame.

    Each bin takes the frequency of its nearest peak, refined between bins by a parabola (single pass spectrum
    inversion, Beauregard et al. 2015). Its phase is the sum of the phase advances since the peak's last onset. A
    change at one place of a song therefore affects only the phases of sounds that contain it.
    """
    frames, bins = magnitudes.shape
    level = magnitudes.clamp_min(1e-8).log()
    left, inner, right = level[:, :-2], level[:, 1:-1], level[:, 2:]
    peak = F.pad((inner > left) & (inner >= right), (1, 1))
    curvature = left - 2 * inner + right
    shift = 0.5 * (left - right) / curvature.clamp_max(-1e-6)
    position = torch.arange(bins, device=level.device, dtype=level.dtype).repeat(frames, 1)
    position[:, 1:-1] += shift.clamp(-0.5, 0.5)
    # The nearest peak of a bin lies below or above it.
    index = torch.arange(bins, device=level.device).expand(frames, bins)
    below = torch.where(peak, index, torch.zeros_like(index)).cummax(dim=1).values
    above = torch.where(peak, index, torch.full_like(index, bins - 1)).flip(1).cummin(dim=1).values.flip(1)
    nearest = torch.where(index - below <= above - index, below, above)
    frequency = position.gather(1, nearest)
    advance = (2 * math.pi * hop / size) * frequency.double()
    total = torch.cumsum(advance, dim=0)
    rise = F.pad(level[2:] - level[:-2], (0, 0, 1, 1)).gather(1, nearest)
    time = torch.arange(frames, device=level.device)[:, None].expand(frames, bins)
    onset = torch.where(rise > RISE, time, torch.zeros_like(time)).cummax(dim=0).values
    phase = total - total.gather(0, onset)
    # Neighbouring bins of a lobe of the Hann window's spectrum alternate in sign.
    return (phase + math.pi * ((index - nearest).abs() % 2)).remainder(2 * math.pi).float()
