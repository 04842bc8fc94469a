"""Read and check the rows of a bulk job, and tell what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_flows.cli.command_log import CommandLog
from acestep_flows.cli.json_output import print_json
from acestep_flows.errors import InputError, listing

if TYPE_CHECKING:
    from acestep_flows.bulk.check import Checked
    from acestep_flows.bulk.rows import JobRows


@dataclass(frozen=True)
class RowOptions:
    """The options that say which rows a job has; as `BulkCommand` has them."""

    manifest: str
    name: str
    folders: Sequence[Path]
    assignments: Sequence[str]
    sweeps: Sequence[str]
    ignored: Sequence[str]
    seed: int
    output: str | None
    gated: bool
    retakes: int

    def read(self) -> JobRows:
        """The rows, with wrong columns told by `column_faults`.

        Raises:
            InputError, GraphError: the graph, an option or the manifest cannot be used, or there is no manifest and
                options do not give every input.
        """
        from acestep_flows.bulk.inputs import PathReader
        from acestep_flows.bulk.manifest import open_manifest
        from acestep_flows.bulk.prepare import check_request
        from acestep_flows.bulk.rows import JobRows
        from acestep_flows.bulk.sweep import parse_sweep
        from acestep_flows.cli.set_inputs import InputForms
        from acestep_flows.graph.checking.check import checked as checked_graph
        from acestep_flows.graph.library import Library
        from acestep_flows.stages.registry import stages

        library = Library(self.folders)
        scope = checked_graph(library.load(self.name), stages(), library.nested)
        check_request(scope, self.output, self.gated, self.retakes)
        declared = scope.graph.inputs
        rows = JobRows(
            open_manifest(self.manifest) if self.manifest else None,
            scope,
            constants=InputForms.of(declared, values=False).read(PathReader(), self.assignments),
            sweeps=[parse_sweep(text, declared) for text in self.sweeps],
            ignored=self.ignored,
            seed=self.seed,
            strict=False,
        )
        if rows.manifest is None and (missing := rows.missing_without_manifest()):
            what = f"no manifest, and no --set or --sweep gives {listing(missing)}"
            raise InputError(what, allowed="a manifest with a column for each input, or these options for all of them")
        return rows


def tell_rows(log: CommandLog, rows: JobRows, checked: Checked, *, skip: bool, as_json: bool) -> None:
    """List bad rows and notes on stderr, and refuse what cannot be rendered.

    Args:
        skip: go on without bad rows.
        as_json: where they are refused, print them to stdout as well.

    Raises:
        InputError: columns are wrong, or rows are bad and not to be skipped.
    """
    for bad in checked.bad:
        log.warn(str(bad))
    if hidden := checked.bad_rows - sum(bad.rows for bad in checked.bad):
        log.warn(f"and {hidden} more")
    refused = list(_refusals(rows, checked, skip))
    if refused:
        if as_json:
            print_json(bad_rows_content(checked) | {"columns": list(rows.column_faults)})
        allowed = "" if rows.column_faults else "good rows, or --on-bad-row skip"
        where = rows.manifest.url if rows.manifest is not None else ""
        raise InputError("; ".join(refused), where=where, allowed=allowed)
    for note in checked.notes:
        log.tell(f"note: {note}")


def bad_rows_content(checked: Checked) -> dict[str, Any]:
    """The bad rows as JSON has them: how many, and for each reason the lines."""
    return {
        "bad_rows": checked.bad_rows,
        "bad": [
            {"problem": bad.problem, "rows": bad.rows, "lines": [[bad.line, bad.line], *map(list, bad.others)]}
            for bad in checked.bad
        ],
    }


def _refusals(rows: JobRows, checked: Checked, skip: bool) -> Iterator[str]:
    yield from rows.column_faults
    if checked.bad_rows and not (skip and not rows.column_faults):
        count = checked.source.rows
        if checked.bad_rows < count or count == 1:
            yield f"{checked.bad_rows} of {count} rows cannot be rendered"
        else:
            same = ", all for the same reason" if len(checked.bad) == 1 else ""
            yield f"none of the {count} rows can be rendered{same}"
