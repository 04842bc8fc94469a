"""How a scheduler calls a stage, whoever runs it: in this process, or in a pool of Ray Serve deployments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from acestep_flows.graph.content import Outputs
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.stages.contract import Stage, StageParams
from acestep_flows.values import Latents


@dataclass(frozen=True, slots=True)
class Reply:
    """What a stage gave, and the seconds it worked (loading weights and waiting for a place not counted)."""

    outputs: Outputs
    seconds: float


class CallProgress(Protocol):
    """Who hears of a call while it runs. Called on the event loop's thread only."""

    def started(self) -> None:
        """The call has a place and works."""

    def step(self, done: int, total: int) -> None:
        """The call stands at a step boundary."""

    def preview(self, done: int, total: int, latents: Latents) -> None:
        """The song as it looks after step `done`. Told of calls that ask for previews."""


class Store(Protocol):
    """Where outputs outlive the process, values included. Its methods block; they may be called from any thread."""

    def read(self, key: str) -> Mapping[str, Any] | None:
        """The outputs under `key`, checked, or None."""

    def write(self, key: str, outputs: Mapping[str, Any], stage: str) -> None:
        """Keep the outputs; raises StorageError."""


class Runner(Protocol):
    """A place where stages run, and where their values are kept.

    Cancelling `call` stops the stage at its next step boundary, and the cancelled coroutine ends only then: when a
    run is over, nothing of it still works.
    """

    @property
    def durable(self) -> bool:
        """Whether a node is done only once its outputs are on disk: others are to go on when this process dies."""

    def numerics(self, stage: type[Stage]) -> str:
        """The numerics policy the stage runs under."""

    def peak_memory(self) -> int | None:
        """Peak resident bytes of the processes where stages run, weights included; None where that is not known."""

    async def weights(self, stage: type[Stage], params: StageParams) -> tuple[str, ...]:
        """Digests of the weights files the result will depend on."""

    async def call(self, call: StageCall, progress: CallProgress) -> Reply:
        """Run the stage.

        Raises:
            FlowsError: as the stage said, or StageError (node left empty) around any other exception.
            LostProcess: the process died, as often as the runner would make the call again.
        """

    async def hold(self, content: Any) -> Any:
        """Take the values inside `content` (JSON and lists and maps of it) over, leaving handles."""

    async def fetch(self, content: Any) -> Any:
        """The values behind the handles inside `content`."""

    async def save(self, store: Store, key: str, outputs: Outputs, stage: str) -> None:
        """Write outputs to `store`, from where their values are."""

    async def load(self, store: Store, key: str) -> Outputs | None:
        """Outputs from `store`, or None."""
