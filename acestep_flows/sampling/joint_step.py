"""A step of a song as numbers, so that songs of every task can make their steps as one batch on a device.

Solvers, painting and edits differ in which of a song's tensors they add up, and by what weights. Here a song's tensors
are *registers*, and every formula but that of guidance is a weighted sum of them: the host only works out the weights.
`joint_turn.py` takes the steps of all songs of a turn.

    asks       registers and noise        -> what the network is asked about
    guides     answers, running difference -> one or two velocities
    sums       registers, noise, velocities -> the registers after the step
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

from acestep_flows.sampling.noise import Draws
from acestep_flows.sampling.queries import JointQuery
from acestep_flows.values import LATENT_CHANNELS, LATENT_HEIGHT

Frames = tuple[int, int]
"""A span of latent frames: the first, and the one after the last."""


class Register(IntEnum):
    """The tensors of a song, each (8, 16, T). The first ones stay from step to step; the others are those of one step.

    LATENTS, PREVIEW, RUNNING: as in `State`; RUNNING is the running difference of guidance.
    FIRST, SECOND, THIRD: what a task keeps besides.
    NOISE, LATER_NOISE: what is drawn in this step.
    DIFFERENCE: of the first guide, before it is limited.
    VELOCITY, OTHER_VELOCITY: of both guides.
    SHIFTED: the first velocity with its distance from its mean scaled.
    """

    LATENTS = 0
    PREVIEW = 1
    RUNNING = 2
    FIRST = 3
    SECOND = 4
    THIRD = 5
    NOISE = 6
    LATER_NOISE = 7
    DIFFERENCE = 8
    VELOCITY = 9
    OTHER_VELOCITY = 10
    SHIFTED = 11


KEPT = 6
"""Registers that stay from step to step."""
FRAME = LATENT_CHANNELS, LATENT_HEIGHT
"""Shape of a frame of latents."""

Sum = Mapping[Register, float]
"""A weighted sum of registers."""


@dataclass(frozen=True)
class Guide:
    """How answers of the network become one velocity (`guidance.py`).

    Attributes:
        formula: "sum" takes `base` as it is, "apg" limits and projects `difference`, "cfg_star" fits `difference`.
        base: weights of the answers.
        difference: weights of the answers.
        running: weight of the running difference in `difference`.
        scale: the guidance scale.
    """

    base: Sequence[float] = (1.0,)
    difference: Sequence[float] = ()
    running: float = 0.0
    formula: Literal["sum", "apg", "cfg_star"] = "sum"
    scale: float = 1.0


@dataclass(frozen=True)
class JointStep:
    """The next step of a song.

    Attributes:
        queries: as those of `Trajectory.queries`, in order.
        sums: what registers become; one that is not named stays as it is.
        memory: where the tensors of `State.memory` are after the step, by name.
        guides: one, or two where the network is asked about two songs.
        asks: what the network is asked about.
        draws: where noise comes from.
        noises: tensors of noise that the step takes.
        granularity: factor on the distance of the velocity from its mean, in SHIFTED.
        painted: frames outside of which velocities are zero; None: all of the song.
    """

    queries: Sequence[JointQuery]
    sums: Mapping[Register, Sum]
    memory: Mapping[str, Register] = field(default_factory=dict)
    guides: Sequence[Guide] = (Guide(),)
    asks: Sequence[Sum] = ({Register.LATENTS: 1.0},)
    draws: Draws | None = None
    noises: int = 0
    granularity: float = 1.0
    painted: Sequence[Frames] | None = None
