"""Inputs given by --set: what the options say, what is wrong with them, and what is still missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from acestep_flows.errors import InputError
from acestep_flows.stages.ports import PortType

if TYPE_CHECKING:
    from acestep_flows.graph.language.types import Declaration
    from acestep_flows.input_reader import InputReader

_NUMBERS = ("int", "float", "seed")

ADVICE = {"adapter": "; acestep-flows adapter list shows the names, a LoRA's own file or folder will do, too"}
"""What to say of a missing input beside how it is written."""
NEW = "new_"
"""What the inputs of an edit begin with that change something of the song: `new_lyrics` beside `lyrics`."""
_PLAIN_SPAN = re.compile(r"[\d.]+[:-][\d.]*")


def _nothing_meant(name: str) -> str:
    return ""


@dataclass(frozen=True)
class InputForms:
    """What the command line must know of a graph's inputs to read them.

    Attributes:
        types: the type of each input.
        units: what numbers count (`s`, `dB`), where that is declared.
        required: inputs without default.
        checked: the inputs whose values are checked here.
        advanced: inputs that few need; messages only count them.
        suggest: gives the input that may be meant by a name that no input has, empty where it knows none.
    """

    types: Mapping[str, PortType]
    units: Mapping[str, str]
    required: Sequence[str]
    checked: Mapping[str, Declaration] = field(default_factory=dict)
    advanced: Collection[str] = ()
    suggest: Callable[[str], str] = _nothing_meant

    @classmethod
    def of(cls, declared: Mapping[str, Declaration], *, values: bool = True) -> InputForms:
        """Those of a graph.

        Args:
            values: whether files are read here; otherwise only plain numbers, texts and lists of them are checked.
        """
        from acestep_flows.graph.language.suggest import suggestion

        return cls(
            {name: one.type for name, one in declared.items()},
            {name: one.unit for name, one in declared.items() if one.unit},
            [name for name, one in declared.items() if one.required],
            {name: one for name, one in declared.items() if values or _is_plain(one.type)},
            [name for name, one in declared.items() if one.advanced],
            partial(suggestion, declared),
        )

    def read(
        self, reader: InputReader, assignments: Sequence[str], *, complete: bool = False, quiet: bool = False
    ) -> dict[str, Any]:
        """The inputs that --set options give. How lists of texts were divided is told on stderr.

        Args:
            complete: whether nothing else gives inputs, so that those without default may not be missing.
            quiet: tell nothing on stderr.

        Raises:
            InputError: inputs are unknown, given twice, missing, cannot be read, or have wrong values: all of these.
        """
        from acestep_flows.graph.planning.inputs import value_faults

        reader.know(self.suggest, self.advanced)
        inputs, faults = reader.collect(assignments, self.types, self.units)
        for note in () if quiet else reader.notes:
            click.echo(note, err=True)
        faults += [self.as_typed(fault, reader) for fault in value_faults(self.checked, inputs)]
        if complete:
            faults += self._missing(reader.meant, reader.files.values())
        if faults:
            raise InputError.of_several(faults)
        return inputs

    def refuse_missing(self, given: Iterable[str]) -> None:
        """Raise InputError for inputs without default that are not given: all of them, and how to give them."""
        if missing := self._missing(given):
            raise InputError.of_several(missing)

    def as_typed(self, fault: InputError, reader: InputReader) -> InputError:
        """The fault of a number or span, with the text that was typed where it shows another one."""
        name, text = fault.field, reader.texts.get(fault.field, "").strip()
        kind = self.types[name].kind if name in self.types else ""
        if not text or fault.where != name or kind not in (*_NUMBERS, "span") or fault.what.startswith("text "):
            return fault
        if kind == "span":
            what = fault.what if _PLAIN_SPAN.fullmatch(text) else f"{text[:60]} is {fault.what}"
            return InputError(what, where=name, allowed=fault.allowed)
        shown, _, rest = fault.what.partition(" ")
        try:
            value = float(shown)
        except ValueError:
            return fault
        typed = text[:60] if _reads(text, value) else f"{text[:60]} is {value:.12g} {self.units.get(name, '')}".rstrip()
        return InputError(f"{typed} {rest}".rstrip(), where=name, allowed=fault.allowed)

    @contextmanager
    def echoing(self, reader: InputReader) -> Iterator[None]:
        """Errors of a plan about inputs that were read are told with what was typed."""
        try:
            yield
        except InputError as error:
            faults = [self.as_typed(fault, reader) for fault in error.faults or (error,)]
            raise (error if faults == [error] else InputError.of_several(faults)) from None

    def _missing(self, given: Iterable[str], files: Iterable[str] = ()) -> list[InputError]:
        """Inputs without default that are not given, and how to give them.

        Args:
            files: paths of music that is given; the recipe in a song may have what is missing.
        """
        from acestep_flows.input_reader import form_of

        known = set(given)
        missing = [name for name in self.required if name not in known]
        songs = _song_inputs(files) if missing else {}
        faults = []
        for name in missing:
            song = next((path for path, inputs in songs.items() if name in inputs), "")
            more = f", or take the song as --from {song}, whose recipe has it" if song else ADVICE.get(name, "")
            old = name.removeprefix(NEW)
            if old != name and old in known:
                more += f"; {old} are the song's old ones, the new ones go in {name}"
            faults.append(InputError(f"missing; give it as --set {form_of(self.types[name], name)}{more}", where=name))
        return faults


def _song_inputs(files: Iterable[str]) -> dict[str, Collection[str]]:
    """The names of the inputs that the recipes in songs have, by path. Files without a recipe are left out."""
    from acestep_flows.recipes.read import read_recipe_file
    from acestep_flows.storage import user_path

    found: dict[str, Collection[str]] = {}
    for path in files:
        try:
            found[path] = read_recipe_file(user_path(path, "source")).inputs.keys()
        except InputError:  # no song of ours
            continue
    return found


def _is_plain(kind: PortType) -> bool:
    inner = kind.item if kind.kind == "list" and kind.item is not None else kind
    return inner.kind in ("text", "bool", *_NUMBERS)


def _reads(text: str, value: float) -> bool:
    """Whether a number was typed as it is."""
    try:
        return float(text) == value
    except ValueError:
        return False
