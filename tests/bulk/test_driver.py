"""A job's rows, with a renderer that makes no sound: what is made, made again, taken again, given up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.bulk.driver import AttemptEnd, Route, run_job
from acestep_flows.bulk.gates import Gate
from acestep_flows.bulk.job import Shard
from acestep_flows.bulk.ledger import ATTEMPTS, DEAD, Ledger
from acestep_flows.bulk.progress import JobProgress
from acestep_flows.bulk.progress_meter import Meter
from acestep_flows.bulk.results import ResultRow
from acestep_flows.bulk.row_work import Attempt, JobWork, failed
from acestep_flows.bulk.seeds import following
from acestep_flows.errors import Conflict, FlowsError, InputError, LostProcess, StageError, StorageError
from acestep_flows.graph.planning.plan import Plan
from tests.bulk.jobs import rows_in

GATE = Gate("silence_share", "<", 0.5)
Act = Callable[[Attempt, ResultRow], "ResultRow | None"]


class Pretence:
    """Every song is done at once, unless `act` says otherwise: another row, None for one that is lost, an exception."""

    def __init__(self, work: JobWork, act: Act = lambda one, row: row) -> None:
        self.work, self.act = work, act
        self.waves: list[list[str]] = []
        self.alone: list[str] = []
        self.seeds: dict[str, list[Any]] = {}
        self.closed = False

    def route(self, plan: Plan) -> Route:
        return ("all",)

    def render(
        self, attempts: Sequence[Attempt], routes: Collection[Route], meter: Meter, *, alone: bool
    ) -> Generator[AttemptEnd, None, None]:
        assert set(routes) == {("all",)}
        self.waves.append([one.row.id for one in attempts])
        self.alone += [one.row.id for one in attempts if alone]
        for one in attempts:
            self.seeds.setdefault(one.row.id, []).append(one.inputs["seed"])
            row = self.act(one, replace(self.work.new_result(one), status="done", duration=5.0))
            if row is not None:
                yield one, row

    def close(self) -> None:
        self.closed = True


def songs(count: int) -> list[dict[str, Any]]:
    return [{"id": f"r{number}", "tags": "funk", "seed": number, "duration": 5} for number in range(count)]


def results(work: JobWork, name: str = "results") -> list[ResultRow]:
    return sorted(Ledger(work.job_folder).rows(name), key=lambda row: (row.index, row.attempt))


def test_all_rows_are_made_once(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, songs(5))
    told: list[JobProgress] = []
    outcome = run_job(work, rows, renderer := Pretence(work), wave=2, watch=told.append)
    assert renderer.waves == [["r0", "r1"], ["r2", "r3"], ["r4"]]
    assert renderer.closed
    assert [row.id for row in results(work)] == [f"r{number}" for number in range(5)]
    assert outcome.progress == told[-1]
    assert (told[-1].phase, told[-1].done, told[-1].rows, told[-1].audio_seconds) == ("ended", 5, 5, 25.0)
    again = run_job(work, rows, renderer := Pretence(work))
    assert renderer.waves == []
    assert (again.progress.done, again.progress.resumed) == (5, 5)


def test_errors_are_tried_again_and_then_given_up(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, songs(3))

    def act(one: Attempt, row: ResultRow) -> ResultRow:
        if one.row.id == "r1" or (one.row.id == "r2" and one.attempt == 1):
            return failed(row, StageError("take", "sample", ZeroDivisionError("by zero")))
        return row

    outcome = run_job(work, rows, renderer := Pretence(work, act), retries=2)
    assert renderer.waves == [["r0", "r1", "r2"], ["r1", "r2"], ["r1"]]
    assert {row.id: row.attempt for row in results(work)} == {"r0": 1, "r2": 2}
    (dead,) = results(work, DEAD)
    assert (dead.id, dead.attempt, dead.code) == ("r1", 3, "stage_failed")
    assert "by zero" in str(dead.error)
    assert dead.inputs["tags"] == "funk"
    assert [(row.id, row.attempt) for row in results(work, ATTEMPTS)] == [("r1", 1), ("r1", 2), ("r1", 3), ("r2", 1)]
    assert (outcome.progress.done, outcome.progress.failed, outcome.progress.attempts) == (2, 1, 6)

    run_job(work, rows, renderer := Pretence(work))
    assert renderer.waves == []
    run_job(work, rows, renderer := Pretence(work), again=True)
    assert renderer.waves == [["r1"]]
    assert results(work, DEAD) == []
    assert {row.id: row.attempt for row in results(work)}["r1"] == 4


def test_what_would_fail_again_is_not_tried_again(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, songs(1))
    run_job(work, rows, renderer := Pretence(work, lambda one, row: failed(row, InputError("no", where="tags"))))
    assert renderer.waves == [["r0"]]
    assert [row.code for row in results(work, DEAD)] == ["invalid_input"]


def test_bad_rows_are_given_up_without_an_attempt(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, [{"id": "bad", "tags": "funk", "steps": 0}, *songs(1)])
    outcome = run_job(work, rows, renderer := Pretence(work))
    assert renderer.waves == [["r0"]]
    assert (outcome.progress.settled, outcome.progress.refused, outcome.progress.rendered) == (2, 1, 1)
    assert [(row.id, "steps" in str(row.error)) for row in results(work, DEAD)] == [("bad", True)]


def test_gates_ask_for_another_seed(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, songs(2), gates=(GATE,), retakes=2)

    def act(one: Attempt, row: ResultRow) -> ResultRow:
        return row if one.row.id == "r0" and one.retake == 1 else replace(row, status="rejected", code="gate")

    outcome = run_job(work, rows, renderer := Pretence(work, act))
    retaken = {"r0": [0, following(0, 1)], "r1": [1, following(1, 1), following(1, 2)]}
    assert renderer.seeds == retaken
    (kept,) = results(work)
    assert (kept.id, kept.seed, kept.attempt, kept.retake) == ("r0", following(0, 1), 2, 1)
    (dead,) = results(work, DEAD)
    assert (dead.id, dead.status, dead.retake) == ("r1", "rejected", 2)
    assert outcome.rejected == 1


def test_a_retake_is_not_taken_back_by_a_stop(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, songs(1), gates=(GATE,), retakes=2)

    def stop(one: Attempt, row: ResultRow) -> ResultRow:
        if one.attempt == 2:
            raise KeyboardInterrupt
        return replace(row, status="rejected")

    assert run_job(work, rows, Pretence(work, stop)).interrupted
    run_job(work, rows, renderer := Pretence(work))
    assert renderer.seeds == {"r0": [following(0, 1)]}
    assert results(work)[0].attempt == 2


def test_rows_with_one_recipe_are_made_once(tmp_path: Path) -> None:
    twins = [{"id": id, "tags": "funk", "seed": 1} for id in ("a", "b")]
    work, rows = rows_in(tmp_path, [*twins, {"id": "c", "tags": "funk"}, {"id": "d", "tags": "funk"}])
    outcome = run_job(work, rows, renderer := Pretence(work))
    assert renderer.waves == [["a", "c", "d"]]
    found = {row.id: (row.status, row.duplicate_of) for row in results(work)}
    assert found == {"a": ("done", None), "b": ("duplicate", "a"), "c": ("done", None), "d": ("done", None)}
    assert (outcome.duplicates, outcome.progress.done) == (1, 4)


def test_the_twin_of_a_row_that_fails_is_made(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, [{"id": id, "tags": "funk", "seed": 1} for id in "abc"])
    act: Act = lambda one, row: failed(row, FlowsError("no")) if one.row.id == "a" else row  # noqa: E731
    run_job(work, rows, Pretence(work, act), retries=0)
    found = {row.id: row.duplicate_of for row in results(work)}
    assert found == {"b": None, "c": "b"}


def test_lost_rows_are_tried_alone(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, songs(3))

    def act(one: Attempt, row: ResultRow) -> ResultRow | None:
        return None if one.row.id == "r1" or (len(renderer.waves) == 1 and one.row.id == "r2") else row

    renderer = Pretence(work, act)
    run_job(work, rows, renderer, retries=1)
    assert renderer.waves == [["r0", "r1", "r2"], ["r1", "r2"], ["r1"]]
    assert renderer.alone == ["r1", "r2", "r1"]
    assert {row.id: row.attempt for row in results(work)} == {"r0": 1, "r2": 1}
    (dead,) = results(work, DEAD)
    assert (dead.id, dead.attempt, dead.code) == ("r1", 2, LostProcess.code)


def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, songs(4))

    def act(one: Attempt, row: ResultRow) -> ResultRow:
        if one.row.id == "r2":
            raise KeyboardInterrupt
        return row

    outcome = run_job(work, rows, renderer := Pretence(work, act))
    assert outcome.interrupted
    assert renderer.closed
    assert [row.id for row in results(work)] == ["r0", "r1"]
    run_job(work, rows, renderer := Pretence(work))
    assert renderer.waves == [["r2", "r3"]]


def store(work: JobWork, one: Attempt, row: ResultRow) -> ResultRow:
    """As a process that renders stores a song."""
    path = work.path(one.row)
    work.job_folder.write(path, b"song")
    done = replace(row, audio_path=path, audio_bytes=4)
    work.journal.note(done)
    return done


def test_songs_that_are_done_and_not_told_yet_count_after_ctrl_c(tmp_path: Path) -> None:
    """Processes are ahead of what the driver has heard of."""
    work, rows = rows_in(tmp_path, songs(5))
    made = {one.row.id: (one, work.new_result(one)) for one in (work.plan_attempt(row)[0] for row in rows)}

    def act(one: Attempt, row: ResultRow) -> ResultRow:
        if one.row.id == "r1":
            for id in ("r1", "r2", "r3"):
                store(work, made[id][0], replace(made[id][1], status="done", duration=5.0))
            raise KeyboardInterrupt
        return store(work, one, row)

    outcome = run_job(work, rows, Pretence(work, act))
    assert outcome.interrupted
    assert (outcome.progress.done, outcome.progress.left) == (4, 1)
    assert [row.id for row in results(work)] == ["r0", "r1", "r2", "r3"]
    run_job(work, rows, renderer := Pretence(work))
    assert renderer.waves == [["r4"]]
    assert not list((tmp_path / "out" / "results").glob(".done*"))


def test_songs_of_a_killed_driver_are_found_again(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, songs(4))
    tries = [work.plan_attempt(row)[0] for row in rows]
    whole, cut, gone = (replace(work.new_result(one), status="done", duration=5.0) for one in tries[:3])
    store(work, tries[0], whole)
    assert store(work, tries[1], cut).audio_path is not None
    work.job_folder.write(work.path(tries[1].row), b"so")  # not what was noted
    work.journal.note(replace(gone, audio_path="audio/00000/r2.flac", audio_bytes=4))
    (journal,) = (tmp_path / "out" / "results").glob(".done*")
    with journal.open("a") as file:
        file.write('{"id": "r3", "ind')  # the last line of a process that was killed
    fresh = JobWork(work.job, work.job_folder)
    outcome = run_job(fresh, rows, renderer := Pretence(fresh))
    assert renderer.waves == [["r1", "r2", "r3"]]
    assert (outcome.progress.done, outcome.progress.resumed) == (4, 1)
    assert [row.id for row in results(work)] == ["r0", "r1", "r2", "r3"]


def test_parts_take_over_their_own_songs(tmp_path: Path) -> None:
    """The whole job was stopped, and goes on as two parts."""
    work, rows = rows_in(tmp_path, songs(4))
    for row in rows:
        one, _ = work.plan_attempt(row)
        store(work, one, replace(work.new_result(one), status="done"))
    for number in (1, 2):
        part = Shard(number, 2)
        mine = replace(work, part=part)
        outcome = run_job(mine, rows, renderer := Pretence(mine), shard=part)
        assert (renderer.waves, outcome.progress.done) == ([], 2)
    assert [row.id for row in results(work)] == [f"r{number}" for number in range(4)]


def test_what_renders_is_closed_before_its_processes_end(tmp_path: Path) -> None:
    """Otherwise it calls Ray when Ray has gone."""
    for error in (StorageError("no space left"), KeyboardInterrupt()):
        work, rows = rows_in(tmp_path / type(error).__name__, songs(2))
        order: list[str] = []

        class Ordered(Pretence):
            def render(
                self, attempts: Sequence[Attempt], routes: Collection[Route], meter: Meter, *, alone: bool
            ) -> Generator[AttemptEnd, None, None]:
                try:
                    yield from super().render(attempts, routes, meter, alone=alone)
                finally:
                    order.append("render")  # noqa: B023 - called before the next round

            def close(self) -> None:
                order.append("close")  # noqa: B023

        def act(one: Attempt, row: ResultRow) -> ResultRow:
            if isinstance(error, KeyboardInterrupt):  # noqa: B023
                raise error  # noqa: B023
            return failed(row, error)  # noqa: B023

        with contextlib.suppress(StorageError):
            run_job(work, rows, Ordered(work, act))
        assert order[:2] == ["render", "close"]


def test_a_full_disk_stops_the_job_and_blames_no_row(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, songs(3))

    def act(one: Attempt, row: ResultRow) -> ResultRow:
        return failed(row, StorageError("no space left")) if one.row.id == "r1" else row

    with pytest.raises(StorageError, match="no space left"):
        run_job(work, rows, Pretence(work, act))
    assert [row.id for row in results(work)] == ["r0"]
    assert results(work, DEAD) == results(work, ATTEMPTS) == []
    run_job(work, rows, renderer := Pretence(work))
    assert renderer.waves == [["r1", "r2"]]


def test_shards_share_the_rows(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, songs(5))
    outcomes = [run_job(work, rows, Pretence(work), shard=Shard(number, 2)) for number in (1, 2)]
    assert [outcome.progress.rows for outcome in outcomes] == [3, 2]
    assert [outcome.progress.done for outcome in outcomes] == [3, 2]
    assert [row.id for row in results(work)] == [f"r{number}" for number in range(5)]


def test_two_do_not_work_on_one_part(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, songs(1))

    def act(one: Attempt, row: ResultRow) -> ResultRow:
        with pytest.raises(Conflict, match="another process"):
            run_job(work, rows, Pretence(work))
        return row

    assert run_job(work, rows, Pretence(work, act)).progress.done == 1


@pytest.mark.parametrize(
    ("first", "second"), [(Shard(), Shard(1, 2)), (Shard(2, 2), Shard()), (Shard(1, 2), Shard(1, 3))]
)
def test_a_part_and_the_whole_do_not_work_at_the_same_time(tmp_path: Path, first: Shard, second: Shard) -> None:
    work, rows = rows_in(tmp_path, songs(4))

    def act(one: Attempt, row: ResultRow) -> ResultRow:
        with pytest.raises(Conflict, match="another process works on .* has the same rows: wait until it has ended"):
            run_job(work, rows, Pretence(work), shard=second)
        return row

    done = run_job(work, rows, Pretence(work, act), shard=first).progress.done
    assert 0 < done <= 4
    assert run_job(work, rows, Pretence(work), shard=second).progress.left == 0


def test_parts_work_at_the_same_time(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, songs(2))

    def act(one: Attempt, row: ResultRow) -> ResultRow:
        assert run_job(work, rows, Pretence(work), shard=Shard(2, 2)).progress.done == 1
        return row

    assert run_job(work, rows, Pretence(work, act), shard=Shard(1, 2)).progress.done == 1


def test_random_seeds_are_the_same_every_time(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, [{"id": "a", "tags": "funk"}])
    (row,) = rows
    assert work.plan_attempt(row)[0] == work.plan_attempt(row)[0]
    assert work.plan_attempt(row)[0].recipe != work.plan_attempt(row, 2, 1)[0].recipe
