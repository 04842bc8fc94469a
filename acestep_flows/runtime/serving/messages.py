"""The messages between a host and a runner.

A call goes out as JSON with handles in it, and their values beside it as arguments of their own, because Ray passes
arguments by reference. The answer is a stream of messages, the last of which is `Done`, `Failed` or `Cleared`. After
`Done` come the values it names, one item each, so that the runner can leave them where they are, and `Complete`.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from acestep_flows.errors import FlowsError, StageError
from acestep_flows.graph.content import Handle, leaves, translate
from acestep_flows.values import Latents


@dataclass(frozen=True, slots=True)
class Started:
    """The call works now."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps made since the last message, each with the total."""

    done: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class PreviewMessage:
    """The song as it looks after a step; of several that were not sent yet, the latest."""

    step: int
    total: int
    latents: Latents


@dataclass(frozen=True, slots=True)
class Done:
    """The outputs, with handles without tokens; the values of `digests` follow in this order."""

    outputs: dict[str, Any]
    digests: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Complete:
    """All values were sent. Without it, one of them may be the error that the host died of."""


@dataclass(frozen=True, slots=True)
class Cleared:
    """The call stopped at the step until which it was to be alone. Its state is saved: made again, it goes on."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The error of the stage."""

    error: FlowsError


@dataclass(frozen=True, slots=True)
class Applied:
    """What a function made of the items that a host applied it to: the whole answer to such a call, if not `Failed`."""

    results: list[Any]


Message: TypeAlias = Started | Steps | PreviewMessage | Done | Complete | Cleared | Failed


def part(content: Any) -> tuple[Any, dict[str, Any]]:
    """Split content into content without tokens, and the tokens by digest."""
    tokens = {leaf.digest: leaf.token for leaf in leaves(content) if isinstance(leaf, Handle)}
    return translate(content, lambda leaf: replace(leaf, token=None) if isinstance(leaf, Handle) else leaf), tokens


def join(content: Any, digests: Sequence[str], tokens: Sequence[Any]) -> Any:
    """Put the tokens back into content: the reverse of `part`."""
    by_digest = dict(zip(digests, tokens, strict=True))

    def joined(leaf: Any) -> Any:
        return replace(leaf, token=by_digest[leaf.digest]) if isinstance(leaf, Handle) else leaf

    return translate(content, joined)


def portable(error: FlowsError) -> FlowsError:
    """The error in a form that another process can read: its cause may be of any class and hold anything."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception as unreadable:  # noqa: BLE001 - whatever classes from outside do when they are pickled
        if not isinstance(error, StageError):
            return StageError("", "", RuntimeError(f"{error} ({type(unreadable).__name__} on the way)"))
        return StageError(error.node, error.stage, RuntimeError(f"{type(error.cause).__name__}: {error.cause}"))
    return error
