"""One value as one safetensors file, with its kind, its JSON fields and its digest in the header.

Such files come from strangers, too. Before a tensor is read, the header must name what a value of its kind has.
"""

from __future__ import annotations

import dataclasses
import json
import math
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acestep_flows.errors import InputError
from acestep_flows.values import Value, canonical_json, pack, unpack

SUFFIX = ".safetensors"

MAX_HEADER_BYTES = 16_000_000
MAX_VALUES_BYTES = 2 << 30
"""Bytes of the arrays of one value. A file of holes may claim far more than its disk holds."""

_NUMBERS = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")
_FIELD_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (int, float),
    "tuple[str, ...]": (list,),
    "Mapping[str, Any]": (dict,),
}
"""The JSON of a field, by the annotation of the field. Annotations of arrays are not among them."""


DAMAGED = "damaged: it is no whole safetensors file"


class _Damaged(ValueError):
    """What is wrong with a file, in words for its user. Errors of libraries are in their own words."""


def encode_value(value: Value) -> bytes:
    """The bytes of a file with `value`, the same for the same value."""
    from safetensors.numpy import save

    arrays, fields = pack(value)
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return _in_order(save(contiguous, {"kind": value.kind, "fields": canonical_json(fields), "digest": value.digest}))


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its metadata in order; the library writes them in a random one."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # arrays begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + content[end:]


def form_of_music(path: Path) -> str:
    """What the file of a music input holds, by its content: "latents" for a file of `encode_value`, else "audio"."""
    try:
        _header(path)
        return "latents"
    except (OSError, ValueError, RecursionError):
        return "latents" if path.suffix == SUFFIX else "audio"


def read_value(path: Path, kind: str, name: str) -> Value:
    """The value in the file at `path`.

    Args:
        kind: the kind that it must have.
        name: the input it is read for, named in errors.

    Raises:
        InputError: the file cannot be read, holds a value of another kind, or was changed after it was written.
    """
    from safetensors import SafetensorError, safe_open

    try:
        header = _header(path)
        metadata = header.pop("__metadata__", {})
        actual = metadata.get("kind", "no value of acestep_flows")
        if actual != kind:
            raise InputError(f"{path} holds {str(actual)[:60]}", where=name, allowed=kind)
        fields = json.loads(metadata["fields"])
        _check_arrays(header, kind)
        _check_fields(fields, kind)
        with safe_open(path, framework="numpy") as file:
            arrays: dict[str, NDArray[Any]] = {key: file.get_tensor(key) for key in header}
        value = unpack(kind, arrays, fields)
        if metadata.get("digest", value.digest) != value.digest:
            raise _Damaged("its content is not the one it was written with (its digest differs)")
        return value
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, SafetensorError) as error:
        own_words = str(error) if isinstance(error, _Damaged) else DAMAGED
        reason = getattr(error, "strerror", None) or own_words
        allowed = f"a file with {kind}, as `run --keep` writes it"
        raise InputError(f"cannot read {path}: {reason[:200]}", where=name, allowed=allowed) from None


def _header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file; raises OSError, ValueError or RecursionError."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise _Damaged("not a plain file")  # a pipe may never end, and a device neither
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= MAX_HEADER_BYTES:
            raise _Damaged("not a safetensors file")
        text = file.read(length)
    try:
        header = json.loads(text)
    except ValueError:
        raise _Damaged(DAMAGED) from None
    if len(text) < length or not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
        raise _Damaged("damaged: its header is not one of a safetensors file")
    return header


def _check_arrays(header: Mapping[str, Any], kind: str) -> None:
    """Refuse tensors that a value of this kind does not have, or that numpy cannot hold."""
    fields = {field.name for field in dataclasses.fields(Value.kinds[kind]) if field.type not in _FIELD_TYPES}
    size = 0
    for name, entry in header.items():
        if name not in fields:
            raise _Damaged(f"{kind} has no array {name[:60]!r}")
        shape, (begin, end) = entry["shape"], entry["data_offsets"]
        if entry["dtype"] not in _NUMBERS:
            raise _Damaged(f"{name} is of type {str(entry['dtype'])[:20]}, where float32 is written")
        if not math.prod(shape):
            raise _Damaged(f"{name} is empty")
        size += end - begin
    if size > MAX_VALUES_BYTES:
        raise _Damaged(f"{size} bytes, where one value has at most {MAX_VALUES_BYTES}")


def _check_fields(fields: Any, kind: str) -> None:
    """Refuse fields that are not of the type that a value of this kind has."""
    if not isinstance(fields, dict):
        raise _Damaged("its fields are not a map")
    for field in dataclasses.fields(Value.kinds[kind]):
        allowed = _FIELD_TYPES.get(str(field.type))
        if field.name not in fields or allowed is None:
            continue
        found = fields[field.name]
        if not isinstance(found, allowed) or (isinstance(found, bool) and bool not in allowed):
            raise _Damaged(f"field {field.name} is not of the type it is written with")
        if isinstance(found, list) and not all(isinstance(part, str) for part in found):
            raise _Damaged(f"field {field.name} is not a list of texts")
