"""The rows of a job, made from a manifest, constants and sweeps: one by one, good and bad, always in the same order.

Only hashes of the ids stay in memory, so a million rows need little. Reading the rows again reads the manifest again.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from acestep_flows.bulk import identity, seeds
from acestep_flows.bulk.input_limits import InputLimits
from acestep_flows.bulk.inputs import CellReader, ReadCell, reading
from acestep_flows.bulk.job import BulkJob, Sweep
from acestep_flows.bulk.manifest import Manifest, ManifestRow, is_lost, open_manifest
from acestep_flows.bulk.sweep import combinations
from acestep_flows.errors import InputError
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.language.suggest import unknown_input
from acestep_flows.graph.language.types import Declaration
from acestep_flows.graph.language.wording import clip
from acestep_flows.graph.records.graph_content import graph_scope
from acestep_flows.values import canonical_json
from acestep_flows.wording.typed_text import with_line_breaks


@dataclass(frozen=True)
class Row:
    """A row of the job: a manifest row, or one of the combinations that sweeps make of it.

    Attributes:
        index: position in the whole job, from 0; the same in every shard and after every resume.
        line: where it is in the manifest: the line of a text file, the row of a parquet file, both from 1.
        id: the row's `id`, or a digest of its inputs; unique in the job.
        stem: name for files, made from the id: safe on any file system, unique where ids are.
        inputs: plain JSON by input name as `lay_out` takes them, seeds drawn; audio and other values as absolute
            paths or URLs (`inputs.opened` reads them).
        problem: why the row cannot be run; `inputs` are then the cells of the manifest. None: it can be run.
    """

    index: int
    line: int
    id: str
    stem: str
    inputs: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None


ID = "id"


@dataclass(frozen=True)
class CheckedRow:
    """A manifest row, read and checked, before sweeps multiply it.

    Attributes:
        line, id, problem: as a `Row` has them.
        inputs: those of the row itself.
        digest: of its id and inputs, or of its cells where there is a problem.
        notes: how its cells are read where that is not plain to see.
    """

    line: int
    id: str
    inputs: dict[str, Any]
    problem: str | None
    digest: bytes
    notes: tuple[str, ...] = ()


class JobRows:
    """The rows of a job. Iterating reads the manifest from its beginning.

    Args:
        manifest: None for a job that is all constants and sweeps, which has one row for them to fill.
        scope: the checked graph.
        constants: inputs of every row; plain JSON, checked here.
        sweeps: values that multiply every row.
        ignored: columns of the manifest that are no inputs and are allowed; `*`: all of these.
        seed: what random seeds are derived from.
        strict: refuse a manifest with wrong columns. Otherwise they are told by `column_faults`, and rows are read
            without them.

    Attributes:
        column_faults: what is wrong with the columns of the whole manifest, where every row has the same.

    Raises:
        InputError: columns that are no inputs or are missing, or inputs given twice; all of them are named.
    """

    def __init__(
        self,
        manifest: Manifest | None,
        scope: Scope,
        *,
        constants: Mapping[str, Any] | None = None,
        sweeps: Sequence[Sweep] = (),
        ignored: Sequence[str] = (),
        seed: int = 0,
        strict: bool = True,
    ) -> None:
        self.manifest, self.scope, self.sweeps = manifest, scope, tuple(sweeps)
        self.declared: Mapping[str, Declaration] = scope.graph.inputs
        self.constants = _constants(constants or {}, self.declared)
        self._seed, self._ignored = seed, frozenset(ignored)
        self._reserved = _reserved(self.constants, self.sweeps)
        self._limits = InputLimits(scope)
        self._absent: list[str] = []  # columns that the whole manifest lacks
        self.columns, self.column_faults = self._columns()
        if strict and self.column_faults:
            raise InputError("; ".join(self.column_faults), where=manifest.url if manifest is not None else "")
        base = manifest.base if manifest is not None else ""
        self._readers: dict[str, ReadCell] = {
            name: self._reader(declared, base) for name, declared in self.declared.items() if name not in self._reserved
        }
        self._refuse_swept()

    @classmethod
    def of(cls, job: BulkJob) -> JobRows:
        """The rows of a job again, as a resumed or distributed one needs them.

        Raises:
            InputError, GraphError: the manifest is gone, or the graph does not check any more.
        """
        return cls(
            open_manifest(job.source.url) if job.source.url else None,
            graph_scope(job.content, job.graph),
            constants=job.constants,
            sweeps=job.sweeps,
            ignored=job.ignored,
            seed=job.seed,
        )

    def __iter__(self) -> Iterator[Row]:
        combined = list(combinations(self.sweeps))
        width = len(str(len(combined)))
        index = 0
        for row in self.checked_rows():
            for number, swept in enumerate(combined, 1):
                id = f"{row.id}-{number:0{width}}" if self.sweeps else row.id
                inputs = row.inputs
                if row.problem is None:
                    inputs = {**self.constants, **row.inputs, **swept}
                    seeds.settle(inputs, self.declared, seeds.drawer(self._seed, id))
                yield Row(index, row.line, id, identity.stem(id), inputs, row.problem)
                index += 1

    def checked_rows(self) -> Iterator[CheckedRow]:
        """The manifest's rows, before sweeps.

        Raises:
            InputError: the manifest cannot be read.
        """
        lines: dict[int, int] = {}  # by the hash of the id: a tenth of the memory that ids would take
        repeated: dict[str, int] = {}
        for record in self._records():
            row = self._check(record)
            id, problem = row.id, row.problem
            earlier = lines.setdefault(hash(id), record.line)
            if earlier != record.line:
                if ID in record.cells and ID not in self._ignored:
                    twice = f"id {clip(id)!r} is on line {earlier} too"
                    problem = twice if problem is None else f"{problem}; {twice}"
                    id, number = f"{id} (line {record.line})", 1  # of its dead letter; no swept row has such an id
                else:  # equal rows are takes of one song
                    repeated[id] = number = repeated.get(id, 1) + 1
                    id = f"{id}-{number}"
                while lines.setdefault(hash(id), record.line) != record.line:
                    number += 1
                    id = f"{row.id}-{number}"
            yield replace(row, id=id, problem=problem)

    def _records(self) -> Iterator[ManifestRow]:
        if self.manifest is None:
            return iter([ManifestRow(0)])
        wanted = None if self.columns is None else [*self._readers, *([] if ID in self._ignored else [ID])]
        return self.manifest.records(wanted)

    def _check(self, record: ManifestRow) -> CheckedRow:
        """The row in a record, or what is wrong with it, all faults in one text."""
        faults = [] if record.problem is None else [record.problem]
        id, inputs = "", {}
        for name, cell in record.cells.items():
            try:
                if name in self._readers:
                    inputs[name] = self._readers[name](cell)
                elif name == ID and ID not in self._ignored:
                    id = identity.given_id(cell)
            except InputError as error:
                if not is_lost(cell):  # the record says it
                    faults.append(str(error))
        if self.columns is None:
            faults += self._unknown(name for name in record.cells if name not in self._inputs())
        if record.problem is None:
            faults += (self._missing_fault(name) for name in self._missing(record.cells) if name not in self._absent)
        if not faults:
            faults += self._limits.faults(inputs)
        if not faults:
            swept = {sweep.name: sweep.values[0] for sweep in self.sweeps}
            refused = self._limits.refused({**self.constants, **inputs, **swept})
            faults += [refused] if refused else []
        if faults:
            digest = hashlib.sha256(repr([record.problem, record.cells]).encode("utf-8", "surrogatepass"))
            cells = {name: cell for name, cell in record.cells.items() if name in self._readers}
            return CheckedRow(record.line, id or digest.hexdigest()[:20], cells, "; ".join(faults), digest.digest()[:8])
        text = canonical_json(inputs)
        digest = hashlib.sha256(f"{id}{text}".encode("utf-8", "surrogatepass"))
        notes = self._read_line_breaks(inputs)
        return CheckedRow(record.line, id or digest.hexdigest()[:20], inputs, None, digest.digest()[:8], notes)

    def _read_line_breaks(self, inputs: dict[str, Any]) -> tuple[str, ...]:
        r"""Read each literal `\n` in a cell of a csv as a line break, as --set does; what is told of that.

        The row keeps the id and the digest that it has without this. JSON and parquet have line breaks of their own, so
        there it is only told.
        """
        notes = []
        for name, cell in inputs.items():
            if self.declared[name].type.kind == "text" and "\\n" in cell and (text := with_line_breaks(cell)) != cell:
                if self.manifest is not None and self.manifest.textual:
                    inputs[name] = text
                    notes.append(rf"{name}: \n is read as a line break")
                else:
                    notes.append(rf"{name}: \n is two characters, not a line break")
        return tuple(notes)

    def _reader(self, declared: Declaration, base: str) -> ReadCell:
        read = reading(declared, base)
        if self.manifest is None or not self.manifest.textual:
            return read
        text_cells, kind, name, unit = CellReader(), declared.type, declared.name, declared.unit
        if kind.kind == "text":
            return read
        return lambda cell: read(text_cells.read(cell, kind, name, unit))

    def missing_without_manifest(self) -> list[str]:
        """The required inputs that no option gives."""
        return self._missing(())

    def _missing(self, cells: Iterable[str]) -> list[str]:
        """The required inputs that neither cells nor options give."""
        given = {*cells, *self._reserved}
        return [name for name, declared in self.declared.items() if declared.required and name not in given]

    def _missing_fault(self, name: str) -> str:
        return f"{name}: missing (allowed: {self.declared[name].type.words})"

    def _unknown(self, names: Iterable[str]) -> Iterator[str]:
        """What is wrong with columns that are no inputs and are not ignored; the inputs stand after the last one."""
        reserved, ignored = self._reserved, self._ignored
        names = [name for name in names if not (name in ignored or ("*" in ignored and name not in reserved))]
        last = next((name for name in reversed(names) if name not in reserved), None)
        for name in names:
            leave_out = f"--ignore {shlex.quote(name)} leaves"
            if name in reserved:
                advice = f"leave out one of them ({leave_out} out the column)"
                yield f"column {name} is given by {reserved[name]} too; {advice}"
            else:
                yield f"{unknown_input(name, self.declared, more=[ID], listed=name == last)}; {leave_out} it out"

    def _columns(self) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
        """The columns of the manifest, and what is wrong with them."""
        if self.manifest is None:
            return (), ()
        columns = self.manifest.columns()
        if columns is None:
            return None, ()
        unknown = self._unknown(name for name in columns if name not in self._inputs())
        self._absent = self._missing(columns)
        absent = (f"{self._missing_fault(name)}; a column or --set gives it" for name in self._absent)
        return columns, (*unknown, *absent)

    def _inputs(self) -> set[str]:
        return {ID, *self.declared} - self._reserved.keys()

    def _refuse_swept(self) -> None:
        """Raise InputError for constants and swept values that stages would refuse: once, not for every row."""
        for name, value in self.constants.items():
            for fault in self._limits.faults({name: value}):
                raise InputError(fault, where="--set")
        for sweep in self.sweeps:
            for value in sweep.values:
                for fault in self._limits.faults({sweep.name: value}):
                    raise InputError(fault, where="--sweep")


def _constants(values: Mapping[str, Any], declared: Mapping[str, Declaration]) -> dict[str, Any]:
    for name in values:
        if name not in declared:
            raise InputError(unknown_input(name, declared), where="--set")
    return {name: reading(declared[name])(value) for name, value in values.items()}


def _reserved(constants: Mapping[str, Any], sweeps: Sequence[Sweep]) -> dict[str, str]:
    """Inputs that an option gives, so no row may, with the option."""
    reserved = dict.fromkeys(constants, "--set")
    for sweep in sweeps:
        if sweep.name in reserved:
            raise InputError(f"{sweep.name} is given by {reserved[sweep.name]} too", where="--sweep")
        reserved[sweep.name] = "--sweep"
    return reserved
