"""One call of the HTTP interface, as a value that is made without sending anything.

Both clients have a method for each function that makes a call, so that name, arguments and documentation are declared
once. Every call can be sent twice and takes effect once: a run is submitted under its own idempotency key.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from urllib.parse import quote

from acestep_flows.client.records import Asset, Output
from acestep_flows.errors import FlowsError, InputError, NotFound

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")

INPUTS = "inputs"
"""Field of a body whose values may be paths, assets and outputs."""


def json_object(response: httpx2.Response) -> dict[str, Any]:
    """The JSON object in a response.

    Raises:
        FlowsError: the body is not a JSON object.
    """
    try:
        content = response.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise FlowsError(f"{response.request.url} answered with a body that is not a JSON object")
    return content


def body_bytes(response: httpx2.Response) -> bytes:
    """The body of a response."""
    return response.content


def nothing(response: httpx2.Response) -> None:
    """Ignore the body of a response."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how its response is read.

    Attributes:
        read: makes the result of the response, whose status is a success.
        body: JSON; its field `inputs` may have paths, assets and outputs in it.
        is_deletion: after a lost connection, `not found` means that it was done.
        given: the caller's names of fields of the body that are sent in another form.
    """

    method: str
    path: str
    read: Callable[[httpx2.Response], T]
    body: Any = None
    query: Mapping[str, Any] = field(default_factory=dict)
    is_deletion: bool = False
    given: Mapping[str, str] = field(default_factory=dict)

    def files(self) -> dict[Path, str]:
        """The paths among the inputs, which have to be uploaded, and the first input that each is in."""
        places: dict[Path, str] = {}
        for place, path in _local_files(self._inputs()):
            places.setdefault(path, place)
        return places

    def with_uploads(self, uploads: Mapping[Path, Asset]) -> Call[T]:
        """The call as it is sent: ids in place of assets, outputs and uploaded paths."""
        if self._inputs() is None:
            return self
        return replace(self, body={**self.body, INPUTS: _encode(self._inputs(), uploads)})

    def already_done(self, error: NotFound, sent: int) -> T:
        """The result where what is deleted is not found: none after a lost connection.

        Args:
            sent: how often the call was sent.

        Raises:
            NotFound: `error`, where it was not this call that deleted it.
        """
        if self.is_deletion and sent > 1:
            return cast(T, None)
        raise error

    def _inputs(self) -> Any:
        return self.body.get(INPUTS) if isinstance(self.body, Mapping) else None


def json_call(
    method: str,
    path: str,
    read: Callable[[dict[str, Any]], T],
    body: Any = None,
    query: Mapping[str, Any] | None = None,
) -> Call[T]:
    """A call whose response is a JSON object. What is None in the query is left out."""
    return Call(method, path, lambda response: read(json_object(response)), body, without_none(query or {}))


def without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def segment(text: object, where: str) -> str:
    """A text as one segment of a path.

    Raises:
        InputError: it is no text, or empty.
    """
    if isinstance(text, str) and text:
        return quote(text, safe="")
    what = "empty" if text == "" else f"a value of type {type(text).__name__}"
    raise InputError(what, where=where, allowed="a text")


def method_signature(make: Callable[..., Call[Any]]) -> inspect.Signature:
    """The signature of a client's method that makes its call with `make`, for `help` and editors."""
    made = inspect.signature(make)
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    result = str(made.return_annotation).removeprefix("Call[").removesuffix("]")
    return inspect.Signature([this, *made.parameters.values()], return_annotation=result)


def _local_files(inputs: Any, place: str = "") -> Iterator[tuple[str, Path]]:
    """The paths among inputs, with their places, such as `tracks[0].audio`."""
    if isinstance(inputs, Path):
        yield place, inputs
    elif isinstance(inputs, Mapping):
        for name, part in inputs.items():
            yield from _local_files(part, f"{place}.{name}" if place else str(name))
    elif isinstance(inputs, Sequence) and not isinstance(inputs, str):
        for index, part in enumerate(inputs):
            yield from _local_files(part, f"{place}[{index}]")


def _encode(inputs: Any, uploads: Mapping[Path, Asset], place: str = "") -> Any:
    """Inputs as JSON. Numbers may be numpy's.

    Raises:
        InputError: a value cannot be sent. Its place is named.
    """
    if isinstance(inputs, Path):
        return uploads[inputs].id
    if isinstance(inputs, Asset):
        return inputs.id
    if isinstance(inputs, Output):
        return inputs.asset
    if isinstance(inputs, Mapping):
        parts = inputs.items()
        return {name: _encode(part, uploads, f"{place}.{name}" if place else str(name)) for name, part in parts}
    if isinstance(inputs, Sequence) and not isinstance(inputs, (str, bytes, bytearray)):
        return [_encode(part, uploads, f"{place}[{index}]") for index, part in enumerate(inputs)]
    return _encode_single(inputs, place or INPUTS)


def _encode_single(value: Any, place: str) -> Any:
    if getattr(value, "ndim", None) == 0:
        value = value.item()  # numpy's
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(str(value), where=place, allowed="a finite number")
    if value is not None and not isinstance(value, (str, int, float)):
        allowed = "a text, a number, a bool, a list, a dict, a Path, an Asset or an Output"
        raise InputError(f"a value of type {type(value).__name__}", where=place, allowed=allowed)
    return value
