"""Continue a song before its beginning or after its end (spec 02 section 5.4)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from acestep_flows.errors import InputError
from acestep_flows.sampling.joint_step import Frames
from acestep_flows.sampling.noise import Draws
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.repaint import Pass, check_painting, paint, repaint
from acestep_flows.sampling.trajectory import Trajectory
from acestep_flows.values import MAX_SECONDS, Compatibility, frames_from_seconds

MAX_FRAMES = frames_from_seconds(MAX_SECONDS)
"""The longest song in one query."""


def pads(start: int, end: int, source_frames: int, compatibility: Compatibility = "corrected") -> tuple[int, int]:
    """Frames to add on the left and on the right so that the song spans `start` to `end` (0: where it starts now)."""
    left = max(0, -start)
    if end <= source_frames:
        return left, 0
    return left, end - source_frames - (left if compatibility == "upstream" else 0)


def retake_frames(source_frames: int, left: int, right: int) -> int:
    """Frames of retake noise that `extend` needs: those of the source, or of a longer extension."""
    return max(source_frames, left, right)


def extend(
    source: Tensor,
    noise: Tensor,
    retake: Tensor,
    left: int,
    right: int,
    options: SamplerOptions,
    draws: Draws,
    variance: float = 1.0,
) -> Trajectory:
    """`source` (8, 16, T) with `left` new frames before it and `right` after it.

    A song over 240 s is painted in two passes over 240 s each: first the left frames with the frames after them, then
    the right frames with the frames before them.

    Args:
        noise: (8, 16, T), of the seed.
        retake: (8, 16, R), of the retake seed, R as `retake_frames` says.
        draws: used by upstream compatibility alone, which treats an extension by nothing as a retake.
        variance: below 1 the first steps are skipped, so the new frames start nearer to silence.

    Raises:
        InputError: nothing to add, more than 240 s on one side, variance outside 0..1, noise of another length.
    """
    frames = source.shape[-1]
    check_painting(source, noise, variance)
    if left == right == 0 and options.compatibility == "upstream":
        return repaint(source, noise, retake, (0, frames), variance, options, draws)
    for name, length in (("left", left), ("right", right)):
        if not 0 <= length < MAX_FRAMES:
            raise InputError(f"{length} frames", where=name, allowed=f"0 to {MAX_FRAMES - 1}")
    if left == right == 0:
        raise InputError("less than one frame to add", where="extend", allowed="0.093 s or more on either side")
    needed = retake_frames(frames, left, right)
    if retake.shape[-1] < needed:
        raise InputError(f"{retake.shape[-1]} frames", where="noise.retake", allowed=f"{needed}")

    first, last = retake[..., :left], retake[..., retake.shape[-1] - right :]
    start = torch.cat([first, noise, last], dim=-1)
    song = pad(source.expand_as(noise), (left, right))
    return paint(song, start, passes(left, frames, right), variance, options)


def passes(left: int, frames: int, right: int) -> tuple[Pass, ...]:
    """The passes in which `left` and `right` new frames around `frames` old ones are painted."""
    total = left + frames + right
    before: tuple[Frames, ...] = ((0, left),) if left else ()
    after: tuple[Frames, ...] = ((total - right, total),) if right else ()
    if total <= MAX_FRAMES:
        return (Pass((0, total), before + after),)
    windows = [Pass((0, min(MAX_FRAMES, left + frames)), before)] if left else []
    if right:
        windows.append(Pass((total - MAX_FRAMES, total), after))
    return tuple(windows)
