"""Read graph inputs from the command line: `name=text` and `name=@file`, by the type that the graph declares.

Text becomes JSON or a value here; the graph checks whether a value is in range.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from acestep_flows.errors import InputError
from acestep_flows.stages.ports import PortType
from acestep_flows.values import Value

MAX_TEXT_BYTES = 16_000_000
_SEED = PortType("seed")


class InputReader:
    """Reads inputs, and records for the recipe which file each value came from.

    Attributes:
        files: digest of a value to the path it was read from, as given.
    """

    def __init__(self) -> None:
        self.files: dict[str, str] = {}

    def inputs(self, assignments: Sequence[str], types: Mapping[str, PortType]) -> dict[str, Any]:
        """The inputs that `--set` options give.

        Args:
            assignments: `name=value` each. A value that begins with `@` is a file's content (`@@` is a plain `@`).
            types: the inputs of the graph. A name with a dot (`takes[2].seed`) is a seed of a nested graph.

        Raises:
            InputError: no `=`, an unknown or repeated name, an unreadable file, or text that is not of the type.
        """
        inputs: dict[str, Any] = {}
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            name = name.strip()
            if not equals or not name:
                what = f"{assignment[:80]!r} has no {'name' if equals else 'value'}"
                raise InputError(what, where="--set", allowed="name=value or name=@file")
            if name not in types and "." not in name:
                near = difflib.get_close_matches(name, types, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise InputError(f"no such input{hint}", where=name, allowed=", ".join(types) or "no inputs at all")
            if name in inputs:
                raise InputError("given twice", where=name, allowed="one --set for each input")
            inputs[name] = self.read(text, types.get(name, _SEED), name)
        return inputs

    def read(self, text: str, kind: PortType, name: str) -> Any:
        """One input from the text behind its `=`."""
        if kind.optional and text == "null":
            return None
        if kind.is_file:
            return self.value(text.removeprefix("@"), kind.kind, name)
        if text.startswith("@") and not text.startswith("@@"):
            text = _read_text(Path(text[1:]).expanduser(), name).removesuffix("\n")
        elif text.startswith("@@"):
            text = text[1:]
        if kind.kind == "list":
            return self._list(text, kind, name)
        if kind.kind in _SCALARS:
            return _SCALARS[kind.kind](text, kind, name)
        return self._structure(text, kind, name)

    def value(self, path: str, kind: str, name: str) -> Value:
        """The audio or other value of `kind` in the file at `path`.

        Raises:
            InputError: the file cannot be read, or holds no such value. Its text names the input and the file.
        """
        from acestep_flows.value_file import read_value

        file = Path(path).expanduser()
        if kind == "audio":
            from acestep_flows.audio import read

            try:
                value: Value = read.audio(file)
            except InputError as error:
                raise InputError(error.what, where=f"{name}: {error.where}", allowed=error.allowed) from error
        else:
            value = read_value(file, kind, name)
        self.files[value.digest] = path
        return value

    def _list(self, text: str, kind: PortType, name: str) -> Any:
        """JSON, or plain elements between commas, or one on each line."""
        item = kind.item
        if text.lstrip().startswith("[") or item is None or item.kind in ("list", "record", "any"):
            return self._structure(text, kind, name)
        parts = [part.strip() for part in text.split("\n" if "\n" in text else ",")]
        return [self.read(part, item, f"{name}[{i}]") for i, part in enumerate(filter(None, parts))]

    def _structure(self, text: str, kind: PortType, name: str) -> Any:
        """JSON in which a text names a file, where the type wants audio or latents."""

        def read_file(path: Any, file_type: PortType, where: str) -> Any:
            return self.value(path.removeprefix("@"), file_type.kind, where) if isinstance(path, str) else path

        return kind.map_files(_structure(text, kind, name), read_file, name)


def _text(text: str, kind: PortType, name: str) -> str:
    return text


def _bool(text: str, kind: PortType, name: str) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if text.strip().lower() not in words:
        raise InputError(f"{text[:80]!r} is neither true nor false", where=name, allowed="true or false")
    return words[text.strip().lower()]


def _number(text: str, kind: PortType, name: str) -> int | float:
    word = text.strip()
    try:
        # Digits are limited: turning a million of them into a number takes minutes.
        return int(word) if kind.kind != "float" and len(word) < 400 else float(word)
    except ValueError:
        pass
    try:
        return float(word)
    except ValueError:
        raise InputError(f"{word[:80]!r} is not a number", where=name, allowed=_wanted(kind)) from None


def _seed(text: str, kind: PortType, name: str) -> int | float | str:
    return "random" if text.strip() == "random" else _number(text, kind, name)


def _span(text: str, kind: PortType, name: str) -> Any:
    """`12:20.5`, `12,20.5`, `[12, 20.5]` or `{"start": 12, "end": 20.5}`."""
    if text.lstrip().startswith(("[", "{")):
        return _structure(text, kind, name)
    ends = text.replace(":", ",").split(",")
    try:
        start, end = (float(end) for end in ends)
    except ValueError:
        raise InputError(f"{text[:80]!r}", where=name, allowed="start:end in seconds, such as 12:20.5") from None
    return [start, end]


def _structure(text: str, kind: PortType, name: str) -> Any:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{text[:80]!r} is not JSON", where=name, allowed=f"{_wanted(kind)} as JSON") from None
    return content


_SCALARS: dict[str, Callable[[str, PortType, str], Any]] = {
    "text": _text,
    "bool": _bool,
    "int": _number,
    "float": _number,
    "seed": _seed,
    "span": _span,
}


def _wanted(kind: PortType) -> str:
    words = {"int": "a whole number", "float": "a number", "seed": "a whole number, or random"}
    return words.get(kind.kind, str(kind))


def _read_text(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_TEXT_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read {path}: {reason}", where=name, allowed="a readable file") from None
    if len(content) > MAX_TEXT_BYTES:
        raise InputError(f"{path} is too large", where=name, allowed=f"at most {MAX_TEXT_BYTES} bytes of text")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start})", where=name) from None
