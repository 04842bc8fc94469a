"""One value in one file: safetensors, the kind and the JSON fields in its header. What runs write beside the audio."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from acestep_flows import storage
from acestep_flows.errors import InputError
from acestep_flows.values import Value, canonical_json, pack, unpack


def write_value(path: Path, value: Value) -> Path:
    """Write `value` to `path`.

    Raises:
        StorageError: it cannot be written.
    """
    return storage.write(path, encode_value(value))


def encode_value(value: Value) -> bytes:
    """The bytes of the file that `write_value` writes."""
    from safetensors.numpy import save

    arrays, fields = pack(value)
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save(contiguous, {"kind": value.kind, "fields": canonical_json(fields)})


def read_value(path: Path, kind: str, name: str) -> Value:
    """The value in `path`, which must be of `kind`; `name` is the input it is read for.

    Raises:
        InputError: it cannot be read, or is something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            found = header.get("kind", "no value of ours")
            if found != kind:
                raise InputError(f"{path} holds {found}", where=name, allowed=kind)
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            return unpack(kind, arrays, json.loads(header["fields"]))
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        allowed = f"a file with {kind}, as runs write it"
        raise InputError(f"cannot read {path}: {reason}", where=name, allowed=allowed) from None
