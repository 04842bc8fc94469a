"""A trajectory is a value: a frozen plan of one song, and an explicit state that can be saved at any step.

A trajectory has three moves. `queries` gives the next questions to the network, `advance` takes the answers one step
on, `estimate` gives the finished song as it looks now. All three are pure: the same plan, state and answers give the
same bytes, so states can be saved, resumed elsewhere, and advanced together with those of other songs. A trajectory
does not know how its queries are batched; the network does not know which task they serve.

For devices where songs make their steps as one batch, `joint_step` says the same as numbers, and `registers` and
`state_of` put a state's tensors into such a batch and take them out.
"""

from __future__ import annotations

import hashlib
import json
import struct
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from acestep_flows.errors import InputError
from acestep_flows.model.transfer import on_device
from acestep_flows.sampling.joint_step import JointStep, Register
from acestep_flows.sampling.queries import BranchName, Query

__all__ = ["BranchName", "Query", "State", "Trajectory", "noised"]

DIGEST = "sha256"
"""Key of a saved state's header: sha256 over its tensors."""


@dataclass(frozen=True, eq=False)
class State:
    """The state of a song between two steps. Saved ones are on the CPU.

    Attributes:
        step: micro-steps done.
        latents: (8, 16, T) float32, the song so far.
        preview: (8, 16, T) float32, the last estimate of the finished song.
        memory: the tensors that guidance, solver and noise keep between steps, by name.
    """

    step: int
    latents: Tensor
    preview: Tensor
    memory: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def names(self) -> Collection[str]:
        """Names of the tensors in `memory`, known without them."""
        return self.memory.keys()

    def fetched(self) -> State:
        """The same state, all of it on the CPU."""
        return self

    def save(self) -> bytes:
        """The state as a safetensors file; equal states give equal bytes."""
        tensors = {"step": torch.tensor(self.step), "latents": self.latents, "preview": self.preview}
        tensors |= {f"memory.{name}": tensor for name, tensor in self.memory.items()}
        # Some may be views of one another, which the format refuses.
        copies = {name: t.clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
        return save(copies, {DIGEST: _digest(copies)})

    @classmethod
    def load(cls, content: bytes) -> State:
        """The state that `save` wrote.

        Raises:
            InputError: `content` is no such file, or was changed after it was written.
        """
        try:
            tensors = load(content)
            written = _metadata(content).get(DIGEST)  # states of 0.1.0 have none
            if written is not None and written != _digest(tensors):
                raise ValueError("its content is not the one it was written with")
            step, latents, preview = (tensors.pop(name) for name in ("step", "latents", "preview"))
            return cls(int(step), latents, preview, {key.removeprefix("memory."): t for key, t in tensors.items()})
        except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            raise InputError(f"not a saved trajectory: {error}", where="state") from None


def _digest(tensors: Mapping[str, Tensor]) -> str:
    return hashlib.sha256(save(dict(tensors))).hexdigest()


def _metadata(content: bytes) -> Mapping[str, str]:
    """The metadata in the header of a safetensors file that can be loaded."""
    (length,) = struct.unpack("<Q", content[:8])
    metadata: Mapping[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    return metadata


class Trajectory(ABC):
    """The plan of one song. Subclasses are frozen dataclasses that hold everything that stays the same."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """Micro-steps in all: how often `advance` must be called."""

    @property
    @abstractmethod
    def frames(self) -> int:
        """Length of the finished song in latent frames."""

    @abstractmethod
    def start(self) -> State:
        """The state before the first step."""

    @abstractmethod
    def queries(self, state: State) -> tuple[Query, ...]:
        """The queries of the next micro-step, one at least. Only before `done`."""

    @abstractmethod
    def advance(self, state: State, velocities: Sequence[Tensor]) -> State:
        """The state after the next micro-step; `velocities` answer `queries(state)` in order, each of its shape."""

    def estimate(self, state: State) -> Tensor:
        """(8, 16, T): the present estimate of the finished song."""
        return state.latents if self.done(state) else state.preview

    def joint_step(self, step: int, names: Collection[str]) -> JointStep | None:
        """The step after `step` steps as numbers, for songs that make theirs as one batch on a device.

        Args:
            names: of the tensors in the state's memory.

        Returns:
            None where the step has no such form: then the song makes it by itself, by `queries` and `advance`.
        """
        return None

    def registers(self, state: State) -> Mapping[Register, Tensor]:
        """What registers hold at `state`, each (8, 16, T); those that are left out are zero."""
        raise NotImplementedError

    def state_of(
        self, step: int, registers: Tensor, memory: Mapping[str, Register], other: Mapping[str, Tensor]
    ) -> State:
        """The state whose tensors are in `registers` (KEPT, 8, 16, T).

        Args:
            memory: where the tensors of the state's memory are, by name.
            other: the rest of the memory, which no step in numbers has changed.
        """
        kept = {name: registers[register] for name, register in memory.items()}
        return State(step, registers[Register.LATENTS], registers[Register.PREVIEW], {**other, **kept})

    def on(self, device: torch.device) -> Self:
        """The same plan with its tensors on `device`."""
        tensors = {own.name: getattr(self, own.name) for own in fields(self)}  # type: ignore[arg-type]
        moved = {name: on_device(part, device) for name, part in tensors.items() if isinstance(part, Tensor)}
        return replace(self, **moved)  # type: ignore[type-var]

    def done(self, state: State) -> bool:
        return state.step >= self.steps

    def check(self, state: State) -> None:
        """Raise unless `state` can be one of this song.

        Raises:
            InputError: `state` has another length, or more steps than the trajectory.
        """
        shape = state.latents.shape
        if not 0 <= state.step <= self.steps or shape[-1:] != (self.frames,) or state.preview.shape != shape:
            raise InputError(
                f"step {state.step} of a song of {shape[-1] if shape else 'no'} frames",
                where="state",
                allowed=f"up to step {self.steps} of a song of {self.frames} frames",
            )


def noised(latents: Tensor, noise: Tensor, level: float) -> Tensor:
    """Clean `latents` at noise level `level`: 0 gives the latents, 1 the noise."""
    return (1 - level) * latents + level * noise
