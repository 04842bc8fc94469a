"""Inputs given by --set: what the options say, and what is still missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from acestep_flows.errors import InputError
from acestep_flows.stages.ports import PortType

if TYPE_CHECKING:
    from acestep_flows.graph.language.types import Declaration
    from acestep_flows.input_reader import InputReader


@dataclass(frozen=True)
class InputForms:
    """What the command line must know of a graph's inputs to read them.

    Attributes:
        types: the type of each input.
        units: what numbers count (`s`, `dB`), where that is declared.
        required: inputs without default.
    """

    types: Mapping[str, PortType]
    units: Mapping[str, str]
    required: Sequence[str]

    @classmethod
    def of(cls, declared: Mapping[str, Declaration]) -> InputForms:
        """Those of a graph that is here."""
        return cls(
            {name: one.type for name, one in declared.items()},
            {name: one.unit for name, one in declared.items() if one.unit},
            [name for name, one in declared.items() if one.required],
        )

    def read(self, reader: InputReader, assignments: Sequence[str]) -> dict[str, Any]:
        """The inputs that --set options give. How lists of texts were divided is told on stderr.

        Raises:
            InputError: an input is unknown, given twice, or cannot be read.
        """
        inputs = reader.inputs(assignments, self.types, self.units)
        for note in reader.notes:
            click.echo(note, err=True)
        return inputs

    def refuse_missing(self, given: Iterable[str]) -> None:
        """Raise InputError for inputs without default that are not given: all of them, and how to give them."""
        from acestep_flows.input_reader import form_of

        missing = [name for name in self.required if name not in set(given)]
        told = "; ".join(f"{name}: missing; give it as --set {form_of(self.types[name], name)}" for name in missing)
        if missing:
            raise InputError(told)
