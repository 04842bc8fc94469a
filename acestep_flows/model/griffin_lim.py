"""Phases for magnitudes, and the way from waveforms to spectra and back.

Spectra are (C, F, bins): frames first, as the Fourier transform reads and writes them, so that nothing is transposed
on the way. Samples bring along the context that their outer frames see: F frames are (F - 1) * hop + size samples.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

MOMENTUM = 0.99
"""Of fast Griffin-Lim (Perraudin et al. 2013)."""
RISE = 0.5
"""Growth of a peak over two frames, in nepers, from which a sound counts as begun."""


def spectrum(signal: Tensor, window: Tensor, hop: int) -> Tensor:
    """Complex spectrum (C, F, bins) of samples (C, n) under a `window` (size,)."""
    transformed: Tensor = torch.fft.rfft(signal.unfold(-1, len(window), hop) * window)
    return transformed


def synthesise(spectrum: Tensor, window: Tensor, hop: int) -> Tensor:
    """(C, F, bins) to (C, n): overlap-add, each sample divided by the weight of the windows over it."""
    size = len(window)
    pieces = torch.fft.irfft(spectrum, n=size).mul_(window)
    weight = _overlap_add(window.square().expand(1, pieces.shape[1], size), hop)
    return _overlap_add(pieces, hop).div_(weight.clamp_min_(1e-3))


def griffin_lim(magnitudes: Tensor, window: Tensor, hop: int, iterations: int, held: Tensor | None = None) -> Tensor:
    """Samples (C, n) whose spectrum has about these magnitudes (C, F, bins): fast Griffin-Lim from the peaks' phases.

    Args:
        held: complex (C, K, bins): what the first K frames are; the others take their phases up from there.
    """
    phase = peak_phases(magnitudes.mean(dim=0), hop, len(window))
    if held is not None:
        known = held.shape[1]
        phase = phase + (held[:, -1:].sum(dim=0).angle() - phase[known - 1 : known])
    guess = torch.polar(magnitudes, phase.expand_as(magnitudes).contiguous())
    before = torch.zeros_like(guess)
    for _ in range(iterations):
        rebuilt = spectrum(_signal(guess, held, window, hop), window, hop)
        guess, before = _towards(magnitudes, _leap(before, rebuilt)), rebuilt
    return _signal(guess, held, window, hop)


def _signal(guess: Tensor, held: Tensor | None, window: Tensor, hop: int) -> Tensor:
    if held is not None:
        guess[:, : held.shape[1]] = held
    return synthesise(guess, window, hop)


def _leap(before: Tensor, rebuilt: Tensor) -> Tensor:
    """From one projection past the next, in the memory of `before`."""
    torch.view_as_real(before).lerp_(torch.view_as_real(rebuilt), 1 + MOMENTUM)
    return before


def _towards(magnitudes: Tensor, leap: Tensor) -> Tensor:
    """`leap` with these magnitudes, in its memory. In real arithmetic, a third of the time of the complex one."""
    real, imaginary = torch.view_as_real(leap).unbind(-1)
    scale = torch.addcmul(real * real, imaginary, imaginary).clamp_min_(1e-16).rsqrt_().mul_(magnitudes)
    real.mul_(scale)
    imaginary.mul_(scale)
    return leap


def _overlap_add(pieces: Tensor, hop: int) -> Tensor:
    """(C, F, size) to (C, (F - 1) * hop + size), where hop divides size."""
    channels, frames, size = pieces.shape
    steps = size // hop
    total = pieces.new_zeros(channels, frames + steps - 1, hop)
    for step in range(steps):
        total[:, step : step + frames] += pieces[..., step * hop : (step + 1) * hop]
    return total.flatten(1)


def peak_phases(magnitudes: Tensor, hop: int, size: int) -> Tensor:
    """Phases (F, bins) of sinusoids at the peaks of `magnitudes` (F, bins), running on from frame to frame.

    Each bin takes the frequency of the peak it belongs to, refined between bins by a parabola (single pass spectrum
    inversion, Beauregard et al. 2015); phases are the sum of their advances since the peak last rose. So a change at
    one place of a song is forgotten with the sounds that it is heard in, and the rest stays as it was.
    """
    frames, bins = magnitudes.shape
    level = magnitudes.clamp_min(1e-8).log()
    left, inner, right = level[:, :-2], level[:, 1:-1], level[:, 2:]
    peak = F.pad((inner > left) & (inner >= right), (1, 1))
    curvature = left - 2 * inner + right
    shift = 0.5 * (left - right) / curvature.clamp_max(-1e-6)
    place = torch.arange(bins, device=level.device, dtype=level.dtype).repeat(frames, 1)
    place[:, 1:-1] += shift.clamp(-0.5, 0.5)
    # Every bin belongs to the nearest peak below or above it.
    index = torch.arange(bins, device=level.device).expand(frames, bins)
    below = torch.where(peak, index, torch.zeros_like(index)).cummax(dim=1).values
    above = torch.where(peak, index, torch.full_like(index, bins - 1)).flip(1).cummin(dim=1).values.flip(1)
    nearest = torch.where(index - below <= above - index, below, above)
    frequency = place.gather(1, nearest)
    advance = (2 * math.pi * hop / size) * frequency.double()
    total = torch.cumsum(advance, dim=0)
    rise = F.pad(level[2:] - level[:-2], (0, 0, 1, 1)).gather(1, nearest)
    time = torch.arange(frames, device=level.device)[:, None].expand(frames, bins)
    begun = torch.where(rise > RISE, time, torch.zeros_like(time)).cummax(dim=0).values
    phase = total - total.gather(0, begun)
    # Neighbours inside a lobe of the Hann window's spectrum alternate in sign.
    return (phase + math.pi * ((index - nearest).abs() % 2)).remainder(2 * math.pi).float()
