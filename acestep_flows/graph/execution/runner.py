"""How a scheduler calls a stage, whoever runs it: in this process, or in a pool of Ray Serve deployments.

The scheduler never holds bulk data. What travels through it is *content*: JSON in the open (a number, a text, a
truth value a `when` may read), and a `Handle` wherever a value would be. A handle tells kind, digest and size, which
is all that cache keys, budgets and provenance need; its token is the runner's own way back to the value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from acestep_flows.stages.contract import Stage, StageParams
from acestep_flows.values import Latents, Value, canonical_json, pack


@dataclass(frozen=True, slots=True)
class Handle:
    """A value at arm's length.

    Attributes:
        kind: the value's kind ("latents", "audio", ...).
        digest: the value's digest; handles compare by it.
        nbytes: the size of its arrays and fields.
        token: how its runner finds the value: the value itself, or an object reference. None in a forecast.
    """

    kind: str
    digest: str
    nbytes: int
    token: Any = field(default=None, compare=False, repr=False)


Content: TypeAlias = "Handle | bool | int | float | str | list[Content] | dict[str, Content] | None"
"""What a port carries: JSON, with handles where values stand. None is absent."""

Outputs: TypeAlias = Mapping[str, Content]
"""The content of every output port of one node."""


@dataclass(frozen=True, slots=True)
class Call:
    """One item for one stage, with inputs and parameters resolved.

    Attributes:
        preview_every: steps between previews, of stages that have any; 0: none.
        run: whose call it is. Where many wait for their turn, runs get equal shares, however many calls each has.
        alone: the step up to which the call is to have its process to itself, of a runner with several; 0: none.

    What comes out depends on none of these three.
    """

    stage: type[Stage]
    inputs: Mapping[str, Content]
    params: StageParams
    preview_every: int = 0
    run: str = ""
    alone: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What a stage gave, and the seconds it worked (loading weights and waiting for a place not counted)."""

    outputs: Outputs
    seconds: float


class Progress(Protocol):
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

    async def call(self, call: Call, progress: Progress) -> Reply:
        """Run the stage.

        Raises:
            FlowsError: as the stage said, or StageError (node left empty) around any other exception.
            LostProcess: the process died; the call may be made again.
        """

    async def hold(self, content: Any) -> Any:
        """Take the values inside `content` (JSON and lists and maps of it) over, leaving handles."""

    async def fetch(self, content: Any) -> Any:
        """The values behind the handles inside `content`."""

    async def save(self, store: Store, key: str, outputs: Outputs, stage: str) -> None:
        """Write outputs to `store`, from where their values are."""

    async def load(self, store: Store, key: str) -> Outputs | None:
        """Outputs from `store`, or None."""


def translate(content: Any, leaf: Callable[[Any], Any]) -> Any:
    """`content` with `leaf` applied to everything that is not a list or a map."""
    if isinstance(content, (list, tuple)):
        return [translate(part, leaf) for part in content]
    if isinstance(content, Mapping):
        return {name: translate(part, leaf) for name, part in content.items()}
    return leaf(content)


def leaves(content: Any) -> Iterator[Any]:
    """Everything in `content` that is not a list or a map."""
    if isinstance(content, (list, tuple)):
        for part in content:
            yield from leaves(part)
    elif isinstance(content, Mapping):
        for part in content.values():
            yield from leaves(part)
    else:
        yield content


def fingerprint(content: Content | Value) -> Any:
    """Short JSON that tells contents apart: maps are wrapped, so that none can pose as a handle."""
    if isinstance(content, (Handle, Value)):
        return {"value": [content.kind, content.digest]}
    if isinstance(content, (list, tuple)):
        return [fingerprint(part) for part in content]
    if isinstance(content, Mapping):
        return {"map": {name: fingerprint(part) for name, part in content.items()}}
    return content


def sha256(content: Any) -> str:
    """sha256 (hex) of the canonical JSON of `content`; lone surrogates, which JSON text allows, are hashed too."""
    return hashlib.sha256(canonical_json(content).encode("utf-8", "surrogatepass")).hexdigest()


def nbytes(value: Value) -> int:
    """Size of a value's arrays, and of its other fields as JSON."""
    arrays, fields = pack(value)
    return sum(array.nbytes for array in arrays.values()) + len(canonical_json(fields))
