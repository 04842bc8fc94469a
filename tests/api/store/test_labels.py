"""Labels: changed by their owner, filters of lists, and the parent that is derived."""

from __future__ import annotations

import pytest

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.labels import LONGEST_LABEL, MOST_LABELS, Labels
from acestep_flows.api.store.leases import Leases
from acestep_flows.api.store.records import Blob, NewOutput, RunState
from acestep_flows.api.store.runs import RunTable
from acestep_flows.errors import InputError, NotFound
from tests.api.store.clock import Clock, new


@pytest.fixture
def labels(database: Database) -> Labels:
    return Labels(database)


def ended(database: Database, clock: Clock, owner: str = "") -> str:
    """The id of the output of a run that succeeded."""
    RunTable(database, clock).accept(new(owner=owner))
    leases = Leases(database, 20.0, clock)
    claimed = leases.claim("e")
    assert claimed is not None
    output = NewOutput("audio", "audio", "t", "f", Blob("0" * 64, 1))
    assert leases.finish(claimed.lease, RunState.SUCCEEDED, outputs=[output])
    return RunTable(database, clock).get(claimed.record.id).outputs["audio"].asset


def test_labels_are_set_changed_and_removed(table: RunTable, labels: Labels) -> None:
    run = table.accept(new(labels={"title": "Night \U0001f3b5", "star": "1"}))[0]
    assert run.labels == {"star": "1", "title": "Night \U0001f3b5"}
    labels.change(run.id, {"title": "Day", "star": None, "note": "x" * LONGEST_LABEL, "absent": None})
    assert table.get(run.id).labels == {"note": "x" * LONGEST_LABEL, "title": "Day"}
    (listed,) = table.list().runs
    assert listed.labels == table.get(run.id).labels


def test_the_longest_labels_fit_the_index(table: RunTable, labels: Labels) -> None:
    run = table.accept(new())[0]
    longest = "".join(chr(0x20000 + 7 * at) for at in range(LONGEST_LABEL))
    labels.change(run.id, {"n" * 40: longest})
    assert [found.id for found in table.list(labels=[f"{'n' * 40}:{longest}"]).runs] == [run.id]


@pytest.mark.parametrize(
    "unusable", [{"Title": "x"}, {"": "x"}, {"a b": "x"}, {"title": ""}, {"title": "x" * (LONGEST_LABEL + 1)},
                 {f"l{number}": "x" for number in range(MOST_LABELS + 1)}],
)  # fmt: skip
def test_unusable_labels_change_nothing(table: RunTable, labels: Labels, unusable: dict[str, str]) -> None:
    with pytest.raises(InputError, match="labels"):
        table.accept(new(labels=unusable))
    run = table.accept(new(labels={"kept": "1"}))[0]
    with pytest.raises(InputError, match="labels"):
        labels.change(run.id, unusable)
    assert table.get(run.id).labels == {"kept": "1"}
    with pytest.raises(InputError, match="not a name"):
        labels.change(run.id, {"Kept": None})


def test_the_limit_holds_over_several_changes(table: RunTable, labels: Labels) -> None:
    run = table.accept(new(labels={f"l{number}": "x" for number in range(MOST_LABELS)} | {"parent": "p"}))[0]
    with pytest.raises(InputError, match="up to 16"):
        labels.change(run.id, {"more": "x"})
    labels.change(run.id, {"more": "x", "l0": None})
    assert len(table.get(run.id).labels) == MOST_LABELS + 1


def test_runs_of_others_have_no_labels_to_change(table: RunTable, labels: Labels) -> None:
    run = table.accept(new(owner="alice", labels={"title": "hers"}))[0]
    for id, owner in ((run.id, "bob"), (f"run-{'0' * 26}", None), ("nonsense", None)):
        with pytest.raises(NotFound):
            labels.change(id, {"title": "his"}, owner)
    assert table.get(run.id).labels == {"title": "hers"}


def test_lists_are_filtered_by_labels_and_date(table: RunTable, clock: Clock) -> None:
    ids = []
    for session, star in (("a", ""), ("a", "1"), ("b", "1")):
        clock.now += 100
        given = {"session": session} | ({"star": star} if star else {})
        ids.append(table.accept(new(labels=given))[0].id)

    def listed(**filters: object) -> list[int]:
        return [ids.index(run.id) for run in table.list(**filters).runs]  # type: ignore[arg-type]

    assert listed(labels=["session:a"]) == [1, 0]
    assert listed(labels=["star"]) == [2, 1]
    assert listed(labels=["star", "session:a"]) == [1]
    assert listed(labels=["session:a:b"]) == listed(labels=["other"]) == []
    moments = [table.get(id).created_at for id in ids]
    assert listed(created_after=moments[1]) == [2, 1]
    assert listed(created_before=moments[1]) == [0]
    assert listed(created_after=moments[1], created_before=moments[2], state=RunState.QUEUED) == [1]
    page = table.list(labels=["session:a"], limit=1)
    assert [run.id for run in table.list(labels=["session:a"], limit=1, after=page.next).runs] == [ids[0]]
    with pytest.raises(InputError, match="label"):
        table.list(labels=["No Name"])


def test_the_parent_is_the_run_that_made_an_input(table: RunTable, database: Database, clock: Clock) -> None:
    asset = ended(database, clock)
    made_by = table.list().runs[0].id
    assert table.accept(new(assets=[asset]))[0].labels == {"parent": made_by}
    assert table.accept(new(assets=[asset], labels={"parent": "mine"}))[0].labels == {"parent": "mine"}
    assert len(table.list(labels=[f"parent:{made_by}"]).runs) == 1


def test_runs_of_before_get_their_parent_and_count_as_usage(database: Database, url: str, clock: Clock) -> None:
    asset = ended(database, clock, "alice")
    table = RunTable(database, clock)
    parent = table.list().runs[0]
    child = table.accept(new(owner="alice", assets=[asset]))[0]
    with database.write() as connection:
        for back in (
            *(f"DROP TABLE {name}" for name in ("labels", "derived_files", "usage", "sessions", "counters", "secrets")),
            "DROP INDEX ix_events_number",
            "ALTER TABLE events DROP COLUMN number",
            "UPDATE alembic_version SET version_num = '0002'",
        ):
            connection.exec_driver_sql(back)
    again = Database(url)
    assert RunTable(again).get(child.id).labels == {"parent": parent.id}
    with again.read() as connection:
        (row,) = connection.exec_driver_sql("SELECT owner, runs, music_seconds, compute_seconds FROM usage").all()
    assert tuple(row) == ("alice", 1, 0.0, 0.0)
    again.close()
