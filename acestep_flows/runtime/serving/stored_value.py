"""The tokens of a runner's handles: where a value lies among the processes of a pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from acestep_flows.graph.content import Handle, leaves

SMALL_BYTES = 100_000
"""Values up to this size come to the runner's process within the answer of a host, as Ray has it."""


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A value in Ray's object store.

    Attributes:
        reference: to the object.
        process: of the pool, by name, that computed it; empty: the runner's process has put it there.
    """

    reference: Any
    process: str = ""


def references(tokens: Mapping[str, StoredValue]) -> list[Any]:
    """The references of tokens by digest, in order: arguments of a call."""
    return [token.reference for token in tokens.values()]


def process_of(content: Any) -> str:
    """The process that computed the largest value in `content`; empty: the runner's process has them all."""
    handles = [leaf for leaf in leaves(content) if isinstance(leaf, Handle) and leaf.nbytes > SMALL_BYTES]
    process: str = max(handles, key=lambda handle: handle.nbytes).token.process if handles else ""
    return process
