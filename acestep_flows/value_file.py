"""One value as one safetensors file, with its kind and its JSON fields in the header."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from acestep_flows.errors import InputError
from acestep_flows.values import Value, canonical_json, pack, unpack

SUFFIX = ".safetensors"


def encode_value(value: Value) -> bytes:
    """The bytes of a file with `value`."""
    from safetensors.numpy import save

    arrays, fields = pack(value)
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save(contiguous, {"kind": value.kind, "fields": canonical_json(fields)})


def form_of_music(path: Path) -> str:
    """What the file of a music input holds, by its content: "latents" for a file of `encode_value`, else "audio"."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            return "latents"
    except (OSError, SafetensorError):
        return "latents" if path.suffix == SUFFIX else "audio"


def read_value(path: Path, kind: str, name: str) -> Value:
    """The value in the file at `path`.

    Args:
        kind: the kind that it must have.
        name: the input it is read for, named in errors.

    Raises:
        InputError: the file cannot be read, or holds a value of another kind.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            actual = header.get("kind", "no value of acestep_flows")
            if actual != kind:
                raise InputError(f"{path} holds {actual}", where=name, allowed=kind)
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            return unpack(kind, arrays, json.loads(header["fields"]))
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        allowed = f"a file with {kind}, as `run --keep` writes it"
        raise InputError(f"cannot read {path}: {reason}", where=name, allowed=allowed) from None
