"""What the command `bulk` tells at the end of a job."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from acestep_flows.cli.command_log import CommandLog
from acestep_flows.cli.terminal import GIVEN_UP
from acestep_flows.wording.phrases import clip, counted

if TYPE_CHECKING:
    from acestep_flows.bulk.finish import Finished
    from acestep_flows.bulk.job_folder import JobFolder
    from acestep_flows.bulk.results import JobOutcome

REASONS = 5
"""Reasons for giving rows up that are listed."""


def tell_end(
    log: CommandLog, job_folder: JobFolder, outcome: JobOutcome, finished: Finished, *, has_exact_length: bool
) -> None:
    """Print what the job made, and what there is to know of it; exit with a code of its own if rows were given up.

    Args:
        has_exact_length: whether the graph can make songs as long as asked.
    """
    from acestep_flows.bulk.formats import FOLDER

    for line in _song_notes(job_folder, outcome, finished, has_exact_length=has_exact_length):
        log.tell(line)
    for path in (FOLDER, finished.report) if finished.dataset.rows else (finished.report,):
        click.echo(f"{job_folder.url}/{path}")
    if not finished.dataset.shown:
        log.tell(_waiting(job_folder))
    if not finished.dataset.rows:
        log.warn("no song was made, so there is no data set")
    if outcome.progress.failed:
        _tell_given_up(log, outcome.progress.failed, finished, f"{job_folder.url}/dead-letters")
        sys.exit(GIVEN_UP)


def _waiting(job_folder: JobFolder) -> str:
    """That the data set of a part is not to be seen yet."""
    from acestep_flows.bulk.formats import FOLDER

    return (
        f"{job_folder.url}/{FOLDER} keeps what the job wrote when it was divided otherwise, so that no row is there "
        "twice; the data set of this part takes its place with those of all other parts"
    )


def _song_notes(
    job_folder: JobFolder, outcome: JobOutcome, finished: Finished, *, has_exact_length: bool
) -> Iterator[str]:
    """What there is to know of the songs, where this call made such; counts are of all calls."""
    from acestep_flows.bulk.song_warnings import frames_note

    if outcome.duplicates:
        have = "has" if outcome.duplicates == 1 else "have"
        rows = counted(str(outcome.duplicates), "row")
        yield f"{rows} {have} the song of another row: the inputs are the same"
    if outcome.warned:
        were = "was" if finished.warned == 1 else "were"
        where = f"{job_folder.url}/results has them in the column warnings"
        yield f"{counted(str(finished.warned), 'song')} {were} turned down to play within full scale; {where}"
    if outcome.truncated:
        advice = "; exact_length=true makes all of it" if has_exact_length else ""
        yield f"{frames_note(finished.truncated)} (columns duration and duration_asked){advice}"
    if alike := len(finished.alike):
        sound = "sounds like an earlier one" if alike == 1 else "sound like earlier ones"
        yield f"{counted(str(alike), 'song')} {sound}"


def _tell_given_up(log: CommandLog, count: int, finished: Finished, table: str) -> None:
    """How many rows were given up, the most frequent reasons, and what to do."""
    reasons = finished.reasons
    were = "was" if count == 1 else "were"
    log.warn(f"{counted(str(count), 'row')} {were} given up; {table} has them (--again tries them anew)")
    for reason, rows in list(reasons.items())[:REASONS]:
        log.warn(f"  {counted(str(rows), 'row')}: {clip(reason, 200)}")
    if len(reasons) > REASONS:
        log.warn(f"  and {counted(str(len(reasons) - REASONS), 'more reason')}")
    if finished.rejected:
        log.warn(
            "songs that miss --require are the same ones with --again; other conditions are another job, "
            "with another --out, and it renders every song anew"
        )
