"""What a scheduler asks of whatever runs its stages: this process, or a pool of Ray Serve deployments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from acestep_flows.graph.content import Outputs
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.stages.contract import Stage, StageParams
from acestep_flows.values import Latents

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Reply:
    """The outputs of a stage, and the seconds it worked (loading weights and waiting not counted)."""

    outputs: Outputs
    seconds: float


class CallProgress(Protocol):
    """Gets the progress of a call. Its methods are called on the event loop's thread only."""

    def started(self) -> None:
        """The call works now."""

    def step(self, done: int, total: int) -> None:
        """The call is at a step boundary, with `done` of `total` steps made."""

    def preview(self, done: int, total: int, latents: Latents) -> None:
        """The song as it looks after step `done`, for calls that ask for previews."""


class IgnoreProgress:
    """The progress of a call that nobody follows."""

    def started(self) -> None:
        """Ignored."""

    def step(self, done: int, total: int) -> None:
        """Ignored."""

    def preview(self, done: int, total: int, latents: Latents) -> None:
        """Ignored."""


class Store(Protocol):
    """Stores outputs, values included, beyond the process. Its methods block; any thread may call them."""

    def read(self, key: str) -> Mapping[str, Any] | None:
        """The outputs under `key`, checked, or None."""

    def write(self, key: str, outputs: Mapping[str, Any], stage: str) -> None:
        """Store the outputs; raises StorageError."""


class Runner(Protocol):
    """Runs stages, and keeps their values.

    Cancelling `call` stops the stage at its next step boundary, and the cancelled coroutine ends only then: when a
    run is over, nothing of it still works.
    """

    @property
    def durable(self) -> bool:
        """Whether a node is done only once its outputs are on disk, so that others can go on when this process dies."""

    def numerics(self, stage: type[Stage]) -> str:
        """The numerics policy the stage runs under."""

    def peak_memory(self) -> int | None:
        """Peak resident bytes of the processes where stages run, weights included; None where that is not known."""

    def weights(self, stage: type[Stage], params: StageParams) -> Awaitable[tuple[str, ...]]:
        """Digests of the weights files the result will depend on."""

    async def call(self, call: StageCall, progress: CallProgress) -> Reply:
        """Run the stage.

        Raises:
            FlowsError: as the stage said, or StageError (node left empty) around any other exception.
            LostProcess: the process died in every attempt that the runner makes.
        """

    def hold(self, content: Any) -> Awaitable[Any]:
        """`content` with a handle in the place of every value; the runner keeps the values."""

    def fetch(self, content: Any) -> Awaitable[Any]:
        """The values behind the handles inside `content`."""

    def apply(self, work: Callable[..., Sequence[R]], items: Sequence[Any], *more: Any) -> Awaitable[list[R]]:
        """A result for each item, from `work(items, *more)` in the processes that have the values inside them.

        Args:
            work: an importable function, which travels by its name. It is called once for each such process, with the
                items whose values are there and with the values in the place of their handles, in a thread; again
                where a process dies under it. It returns a result for each of its items.
            items: content.
            more: what every call of `work` takes besides.

        Raises:
            FlowsError: as `work` said, or StageError (node left empty) around any other exception.
            LostProcess: a process died in every attempt that the runner makes.
        """

    def save(self, store: Store, key: str, outputs: Outputs, stage: str) -> Awaitable[None]:
        """Write outputs to `store`, from wherever their values are."""

    def load(self, store: Store, key: str) -> Awaitable[Outputs | None]:
        """Outputs from `store`, or None."""
