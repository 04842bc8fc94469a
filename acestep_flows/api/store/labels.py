"""Labels of runs: short texts by name, such as `title`, `star` or `session`, which their owner may change."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, delete, exists, insert, select

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.ids import no_such
from acestep_flows.api.store.schema import ASSETS, LABELS, RUNS
from acestep_flows.errors import InputError

PARENT = "parent"
"""The label that names the run whose output this run reads. It does not count towards MOST_LABELS."""

MOST_LABELS = 16
LONGEST_LABEL = 500
"""Characters of a label. An index of PostgreSQL holds 2.7 kB, which is more than this in UTF-8."""

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,39}")
NAMES = "a lower-case letter, then up to 39 of a-z, 0-9, '_', '.' and '-'"


class Labels:
    """The labels in the database. The methods block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def change(self, run: str, changes: Mapping[str, str | None], owner: str | None = None) -> None:
        """Set labels of a run; None removes one. Other labels stay.

        Raises:
            NotFound: there is no such run of this owner.
            InputError: a name or a text is not usable, or the run would have too many labels.
        """
        for name in changes:
            _check_label(name, None)
        check_labels({name: value for name, value in changes.items() if value is not None})
        visible = select(RUNS.c.id).where(RUNS.c.id == run, *(() if owner is None else (RUNS.c.owner == owner,)))
        with self._database.write_beside() as connection:
            if connection.execute(visible.with_for_update()).first() is None:
                raise no_such("run", run)
            before = labels_of(connection, [run])[run]
            after = {name: value for name, value in {**before, **changes}.items() if value is not None}
            check_labels(after)
            connection.execute(delete(LABELS).where(LABELS.c.run == run))
            write_labels(connection, run, after)


def check_labels(labels: Mapping[str, str]) -> None:
    """Check names, texts and number of labels.

    Raises:
        InputError: one of these is not usable.
    """
    if len(labels.keys() - {PARENT}) > MOST_LABELS:
        raise InputError(f"{len(labels)} labels", where="labels", allowed=f"up to {MOST_LABELS}, besides {PARENT}")
    for name, value in labels.items():
        _check_label(name, value)


def _check_label(name: str, value: str | None) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(f"{name[:60]!r} is not a name", where="labels", allowed=NAMES)
    if value is not None and not 1 <= len(value) <= LONGEST_LABEL:
        allowed = f"1 to {LONGEST_LABEL} characters"
        raise InputError(f"{len(value)} characters", where=f"labels.{name}", allowed=allowed)


def write_labels(connection: Connection, run: str, labels: Mapping[str, str]) -> None:
    """Write labels that a run does not have yet."""
    if labels:
        rows = [{"run": run, "name": name, "value": value} for name, value in labels.items()]
        connection.execute(insert(LABELS), rows)


def labels_of(connection: Connection, runs: Sequence[str]) -> dict[str, dict[str, str]]:
    """The labels of runs: by run, then by name."""
    labels: dict[str, dict[str, str]] = {run: {} for run in runs}
    for row in connection.execute(select(LABELS).where(LABELS.c.run.in_(runs)).order_by(LABELS.c.run, LABELS.c.name)):
        labels[row.run][row.name] = row.value
    return labels


def with_parent(connection: Connection, labels: Mapping[str, str], assets: Sequence[str]) -> Mapping[str, str]:
    """`labels`, and as `parent` the run that made the first of `assets` that is an output, unless it is given."""
    if PARENT in labels or not assets:
        return labels
    made_by = select(ASSETS.c.id, ASSETS.c.run).where(ASSETS.c.id.in_(set(assets)), ASSETS.c.run.is_not(None))
    runs = {row.id: row.run for row in connection.execute(made_by)}
    parents = [runs[asset] for asset in assets if asset in runs]
    return {**labels, PARENT: parents[0]} if parents else labels


def has_label(label: str) -> ColumnElement[bool]:
    """The SQL condition that a run has a label, as `split_label` reads it.

    Raises:
        InputError: the name is not one.
    """
    name, value = split_label(label)
    # An alias, because the query may read another label of the run.
    labels = LABELS.alias()
    match = exists().where(labels.c.run == RUNS.c.id, labels.c.name == name)
    return match if value is None else match.where(labels.c.value == value)


def split_label(label: str) -> tuple[str, str | None]:
    """Name and text of a label to look for: `NAME`, or `NAME:TEXT` for one text.

    Raises:
        InputError: the name is not one.
    """
    name, colon, value = label.partition(":")
    if not _NAME.fullmatch(name):
        raise InputError(f"{name[:60]!r} is not a name", where="label", allowed=f"NAME or NAME:TEXT; a name is {NAMES}")
    return name, value if colon else None
