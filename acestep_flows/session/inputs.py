"""Graph inputs from Python: paths become what their files hold, numpy scalars and arrays become plain data or values.

Only the form is changed here; whether a value is in range is for the graph to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from acestep_flows.errors import InputError
from acestep_flows.graph.language.wording import show
from acestep_flows.input_reader import InputReader
from acestep_flows.session.result import RunResult
from acestep_flows.stages.ports import PortType
from acestep_flows.storage import user_path
from acestep_flows.values import MUSIC, Value

ONE_ARRAY = ("latents", "mel")
"""Kinds of values that are one array and nothing else, so that the array can stand for them."""


def read_inputs(inputs: Mapping[str, Any], types: Mapping[str, PortType]) -> tuple[dict[str, Any], dict[str, str]]:
    """Inputs as plans take them, and the files they came from.

    Args:
        inputs: by name. Where the graph wants audio or another value: the value or the path of a file with it;
            latents and mel also as an array. Where it wants text: text, or a `Path` to a text file. A span is
            `(start, end)` in seconds.
        types: the inputs that the graph declares.

    Returns:
        The inputs, and for each value that came from a file its digest and path.

    Raises:
        InputError: a file cannot be read, or a value is not what the graph wants.
    """
    reader = InputReader()

    def leaf(value: Any, kind: PortType, where: str) -> Any:
        if value is None:
            return None
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, RunResult):
            raise InputError("the result of a run", where=where, allowed=_outputs(value, kind))
        if kind.is_file:
            return _value(value, kind, where, reader)
        if isinstance(value, np.ndarray):
            return kind.map(value.tolist(), leaf, where)
        if kind.kind == "text" and isinstance(value, PathLike):
            return _text(Path(value), kind, where, reader)
        return value

    read = {name: types[name].map(value, leaf, name) if name in types else value for name, value in inputs.items()}
    return read, reader.files


def _outputs(result: RunResult, kind: PortType) -> str:
    """The outputs of a result that may stand for it: those of `kind`, else all."""
    names = [
        name for name, output in result.outputs.items() if isinstance(output, Value) and output.kind in kind.value_kinds
    ]
    return "one of its outputs: " + ", ".join(f"result.{name}" for name in names or result.outputs)


def _value(value: Any, kind: PortType, where: str, reader: InputReader) -> Value:
    """A value of `kind`: itself, the content of a file, or an array that stands for it."""
    if isinstance(value, Value) and value.kind in kind.value_kinds:
        return value
    if isinstance(value, (str, PathLike)):
        return reader.value(str(value), kind.kind, where)
    name = " or ".join(Value.kinds[form].__name__ for form in kind.value_kinds)
    if isinstance(value, np.ndarray):
        if kind.kind in ONE_ARRAY:
            return Value.kinds[kind.kind](value)  # type: ignore[call-arg]  # each of them has one field
        audio = "Audio(samples, sample_rate) with samples (channels, n)"
        hint = {"audio": audio, MUSIC: f"{audio}, Latents(array)"}.get(kind.kind, name)
        raise InputError("a bare array", where=where, allowed=f"{hint}, or the path of a file with it")
    raise InputError(show(value), where=where, allowed=f"{name}, or the path of a file with it")


def _text(path: Path, kind: PortType, where: str, reader: InputReader) -> Any:
    """The content of a text file. A folder stays a path: an adapter is named by its folder."""
    return str(path) if user_path(path, where).is_dir() else reader.read(f"@{path}", kind, where)
