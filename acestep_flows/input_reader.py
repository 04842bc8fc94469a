"""Read graph inputs from the command line: `name=text` and `name=@file`, by the type that the graph declares.

Text becomes JSON or a value here; the graph checks whether a value is in range.
What can be read in two ways is refused.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from acestep_flows.errors import InputError
from acestep_flows.stages.ports import PortType
from acestep_flows.values import MUSIC, Value
from acestep_flows.wording import quantities, text_lists
from acestep_flows.wording.forms import written_form
from acestep_flows.wording.phrases import allowing, clip
from acestep_flows.wording.places import refuse_elsewhere
from acestep_flows.wording.text_file import expanded, read_text_file
from acestep_flows.wording.typed_text import likely_mistakes, with_line_breaks

log = logging.getLogger(__name__)

_SEED = PortType("seed")
_NUMBERS = ("int", "float", "seed")
_OTHER_SIGN = re.compile(r"\s*(\w+)\s*[:\s]")
"""An input with a colon or a blank behind it, in place of `=`."""


class InputReader:
    """Reads inputs, and records for the recipe which file each value came from.

    Args:
        suggest: gives the input that may be meant by a name that no input has, empty where it knows none.
        unlisted: inputs that are only counted where messages list what is allowed.

    Attributes:
        files: digest of a value to the path it was read from, as given.
        texts: what stands behind the `=` of each input.
        meant: inputs that the user gave or probably meant, also where they cannot be read.
        notes: how texts were read where that is not plain to see, one line each.
        mistakes: likely mistakes in them, as they were logged.
        typed: whether the texts were typed on a command line. Then likely mistakes are logged as warnings, a literal
            line break is read as one, and commas do not divide texts.
    """

    typed = True

    def __init__(self, suggest: Callable[[str], str] = lambda name: "", unlisted: Collection[str] = ()) -> None:
        self.files: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.meant: set[str] = set()
        self.notes: list[str] = []
        self.mistakes: list[str] = []
        self._suggest, self._unlisted = suggest, unlisted

    def inputs(
        self, assignments: Sequence[str], types: Mapping[str, PortType], units: Mapping[str, str] = {}
    ) -> dict[str, Any]:
        """The inputs that `--set` options give.

        Args:
            assignments: `name=value` each. A value that begins with `@` is a file's content (`@@` is a plain `@`).
            types: the inputs of the graph. A name with a dot (`takes[2].seed`) is a seed of a nested graph.
            units: what the numbers of an input count (`s`, `dB`), by name.

        Raises:
            InputError: no `=`, an unknown or repeated name, an unreadable file, or text that is not of the type; with
                several such, all of them.
        """
        inputs, faults = self.collect(assignments, types, units)
        if faults:
            raise InputError.of_several(faults)
        return inputs

    def know(self, suggest: Callable[[str], str], unlisted: Collection[str]) -> None:
        """Set what messages about unknown inputs say, as the constructor does."""
        self._suggest, self._unlisted = suggest, unlisted

    def collect(
        self, assignments: Sequence[str], types: Mapping[str, PortType], units: Mapping[str, str] = {}
    ) -> tuple[dict[str, Any], list[InputError]]:
        """What can be read of the options that `inputs` takes, and what is wrong with the others."""
        inputs: dict[str, Any] = {}
        faults: list[InputError] = []
        unknown: dict[str, None] = {}
        self.texts, self.meant = {}, set()
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            name = name.strip()
            self.meant.add(name)
            if not equals or not name:
                faults.append(self._incomplete(assignment, types))
            elif name not in types and "." not in name:
                unknown[name] = None
            elif name in self.texts:
                faults.append(InputError("given twice", where=name, allowed="one --set for each input"))
            else:
                self.texts[name] = text
                try:
                    inputs[name] = self.read(text, types.get(name, _SEED), name, units.get(name, ""))
                except InputError as fault:
                    faults.append(fault)
        return inputs, [*self._unknown(list(unknown), types), *faults]

    def _incomplete(self, assignment: str, types: Mapping[str, PortType]) -> InputError:
        """An option without a name or without `=`. With a colon in its place (`tags:folk`) the input is meant."""
        what = f"{assignment[:80]!r} has no {'name' if '=' in assignment else 'value'}"
        begun = None if "=" in assignment else _OTHER_SIGN.match(assignment)
        if begun is not None and begun[1] in types:
            self.meant.add(begun[1])
            what += f"; write {begun[1]}={clip(assignment[begun.end() :].strip())}"
        return InputError(what, where="--set", allowed="name=value or name=@file")

    def _unknown(self, names: Sequence[str], types: Mapping[str, PortType]) -> list[InputError]:
        """Names that no input has; those there are stand after the last one."""
        faults = []
        for name in names:
            near = [meant] if (meant := self._suggest(name)) else difflib.get_close_matches(name, types, 1)
            self.meant.update(meant.partition(":")[0] for meant in near)
            hint = f"; did you mean {near[0]}?" if near else ""
            shown = self._listed(types) if name == names[-1] else ""
            faults.append(allowing(InputError(f"no such input{hint}", where=name, allowed=shown), types))
        return faults

    def _listed(self, names: Iterable[str]) -> str:
        """The inputs there are, those that few need as a number."""
        listed = [name for name in names if name not in self._unlisted]
        more = f", and {len(self._unlisted)} advanced ones" if self._unlisted else ""
        return (", ".join(listed) + more) or "no inputs at all"

    def read(self, text: str, kind: PortType, name: str, unit: str = "") -> Any:
        """One input from the text behind its `=`.

        Args:
            unit: what a number counts: `s` also reads `1:30` and `20 s`.

        Raises:
            InputError: it cannot be read as `kind`, or in two ways.
        """
        if kind.optional and quantities.is_null(text):
            return None
        if kind.is_file:
            return self.value(text.removeprefix("@"), kind.kind, name)
        from_file = text.startswith("@") and not text.startswith("@@")
        if from_file:
            text = read_text_file(text[1:], name).removesuffix("\n")
        elif text.startswith("@@"):
            text = text[1:]
        if kind.kind == "list":
            return self._list(text, kind, name, unit, from_file)
        if kind.kind == "text":
            return text if from_file else self._text(text, name)
        if kind.kind in _NUMBERS:
            return _number(text, kind, name, unit)
        if kind.kind == "bool":
            return quantities.read_truth(text, name)
        if kind.kind == "span" and not text.lstrip().startswith(("[", "{")):
            return quantities.read_span(text, name)
        return self._structure(text, kind, name)

    def value(self, path: str, kind: str, name: str) -> Value:
        """The audio or other value of `kind` in the file at `path`; for music, its content tells audio from latents.

        Raises:
            InputError: the file cannot be read, or holds no such value. Its text names the input and the file.
        """
        from acestep_flows.value_file import form_of_music, read_value

        refuse_elsewhere(path, name)
        file = expanded(path, name)
        form = form_of_music(file) if kind == MUSIC else kind
        if form == "audio":
            from acestep_flows.audio import read

            try:
                value: Value = read.audio(file)
            except InputError as error:
                allowed = f"{error.allowed}; or a file of latents" if kind == MUSIC and error.allowed else error.allowed
                raise InputError(error.what, where=f"{name}: {error.where}", allowed=allowed) from error
        else:
            value = read_value(file, form, name)
        self.files[value.digest] = path
        return value

    def _text(self, text: str, name: str) -> str:
        """A text as it was typed."""
        if not self.typed:
            return text
        text = with_line_breaks(text)
        for mistake in likely_mistakes(text, name):
            log.warning(mistake)
            self.mistakes.append(mistake)
        return text

    def _list(self, text: str, kind: PortType, name: str, unit: str, from_file: bool) -> Any:
        """JSON, plain elements between commas, or texts between lines."""
        item = kind.item
        if text_lists.is_json(text) or item is None or item.kind in ("list", "record", "any"):
            return self._structure(text, kind, name)
        if not text.strip():
            raise InputError("empty", where=name, allowed=form_of(kind, name))
        if item.kind == "text" and self.typed:
            return self._texts(text, name, from_file)
        parts = text_lists.split_plain(text, name, form_of(kind, name))
        if item.kind in ("int", "seed"):
            parts = text_lists.expand_ranges(parts, name)
        return [self.read(part, item, f"{name}[{i}]", unit) for i, part in enumerate(parts)]

    def _texts(self, text: str, name: str, from_file: bool) -> list[str]:
        """Texts from a file, or typed."""
        if not from_file:
            return [self._text(part, name) for part in text_lists.split_typed_texts(text, name)]
        texts, between = text_lists.split_texts_of_file(text, name)
        if len(texts) > 1:
            self.notes.append(f"{name}: {len(texts)} texts, divided by {between}")
        return texts

    def _structure(self, text: str, kind: PortType, name: str) -> Any:
        """JSON in which a text names a file, where the type wants audio or latents."""

        def read_file(path: Any, file_type: PortType, where: str) -> Any:
            return self.value(path.removeprefix("@"), file_type.kind, where) if isinstance(path, str) else path

        return kind.map_files(text_lists.read_json(text, name, kind.words), read_file, name)


def form_of(kind: PortType, name: str) -> str:
    """How an input of this type is given to `--set`: `seeds=1,2,3`."""
    return written_form(name, kind.kind, kind.item.kind if kind.item is not None else "")


def _number(text: str, kind: PortType, name: str, unit: str) -> int | float | str:
    if kind.kind == "seed" and quantities.tidy(text).lower() == "random":
        return "random"
    if not text.strip():
        raise InputError("empty", where=name, allowed=f"{kind.words}{', or null' if kind.optional else ''}")
    return quantities.read_number(text, name, whole=kind.kind != "float", unit=unit, wanted=kind.words)
