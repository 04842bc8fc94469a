"""What travels between stages while a plan runs: content, and the walks over it.

Content is plain JSON (a number, a text, a truth value that a `when` may read), with a `Handle` in the place of every
value. A handle has kind, digest and size, which is all that cache keys, budgets and recipes need, so the scheduler
never holds bulk data.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from acestep_flows.values import Value, canonical_json


@dataclass(frozen=True, slots=True)
class Handle:
    """Stands for a value.

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

    @classmethod
    def of(cls, value: Value, token: Any = None) -> Handle:
        """The handle of `value`. Digests the value if that was not done before."""
        return cls(value.kind, value.digest, value.nbytes, token)


Content: TypeAlias = "Handle | bool | int | float | str | list[Content] | dict[str, Content] | None"
"""What a port carries: JSON, with handles in the place of values. None is absent."""

Outputs: TypeAlias = Mapping[str, Content]
"""The content of every output port of one node."""


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


def with_handles(content: Any) -> Any:
    """`content` with every value in a handle whose token is the value itself. Digests values."""
    return translate(content, lambda leaf: Handle.of(leaf, leaf) if isinstance(leaf, Value) else leaf)


def with_values(content: Any) -> Any:
    """`content` with every handle replaced by its token: what `with_handles` was given."""
    return translate(content, lambda leaf: leaf.token if isinstance(leaf, Handle) else leaf)


def outputs_of(out: Any) -> Outputs:
    """The ports of a stage's `Out`, with handles."""
    outputs: Outputs = with_handles({field.name: getattr(out, field.name) for field in dataclasses.fields(out)})
    return outputs


def value_bytes(content: Any) -> int:
    """Bytes of all values in `content`, equal ones counted each time."""
    return sum(leaf.nbytes for leaf in leaves(content) if isinstance(leaf, Handle))


def memory_bytes(content: Any) -> int:
    """About as many bytes as `content` takes in memory, JSON included."""
    return sum(
        leaf.nbytes if isinstance(leaf, Handle) else len(leaf) if isinstance(leaf, str) else 8
        for leaf in leaves(content)
    )


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
