"""What `bulk --dry-run` tells: whether the job may begin or go on in its folder, and what is left would cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from acestep_flows.cli.bulk_rows import bad_rows_content
from acestep_flows.cli.json_output import print_json
from acestep_flows.settings import read_settings
from acestep_flows.wording.phrases import counted

if TYPE_CHECKING:
    from acestep_flows.bulk.check import Checked
    from acestep_flows.bulk.estimate import Price
    from acestep_flows.bulk.job import BulkJob, Shard
    from acestep_flows.bulk.job_folder import JobFolder
    from acestep_flows.bulk.results import Status
    from acestep_flows.bulk.rows import JobRows, Row
    from acestep_flows.runtime.serving.pool import Pool
    from acestep_flows.weights.choose import Weights


@dataclass(frozen=True)
class RowCounts:
    """The rows of a part of a job, by how they stand before a call. Rows that cannot be rendered are left out."""

    done: int = 0
    given_up: int = 0
    left: int = 0

    @classmethod
    def of(cls, rows: Iterable[Row], shard: Shard, settled: Mapping[str, Status]) -> RowCounts:
        """Count the rows of `shard`; `settled` has how rows ended, by id."""
        done = given_up = left = 0
        for row in rows:
            if not shard.holds(row.index) or row.problem is not None:
                continue
            status = settled.get(row.id)
            done += status in ("done", "duplicate")
            given_up += status in ("failed", "rejected")
            left += status is None
        return cls(done, given_up, left)

    def lines(self) -> Iterator[str]:
        """What earlier calls did, for people."""
        if self.done:
            yield f"{counted(str(self.done), 'row')} {'is' if self.done == 1 else 'are'} done"
        if self.given_up:
            were = "was" if self.given_up == 1 else "were"
            yield f"{counted(str(self.given_up), 'row')} {were} given up (--again tries them anew)"


@dataclass(frozen=True)
class DryRun:
    """A call of `bulk` that renders nothing.

    Attributes:
        job, job_folder, rows, checked, shard, pool, weights: what the call would render, where and with what.
        again: also retry rows that were given up.
        price_per_hour: money for an hour of the machine; None: no sum is given.
    """

    job: BulkJob
    job_folder: JobFolder
    rows: JobRows
    checked: Checked
    shard: Shard
    pool: Pool
    weights: Weights
    again: bool = False
    price_per_hour: float | None = None

    def check_folder(self, *, upgrade: bool = False) -> None:
        """Refuse what a real call would refuse before its first row; nothing is written.

        Args:
            upgrade: as `begin` takes it.

        Raises:
            StorageError: the folder cannot be made or written.
            ChangedJob, InputError: it holds another job, or a damaged one.
            Conflict: another process works on these rows.
        """
        from acestep_flows.bulk.part_lock import check_unlocked
        from acestep_flows.bulk.resume import is_begun

        self.job_folder.check_writable()
        is_begun(self.job_folder, self.job, self.checked, upgrade=upgrade)
        check_unlocked(self.job_folder, self.shard)

    def tell(self, *, as_json: bool) -> None:
        """Print how rows stand and what those that are left would cost."""
        from acestep_flows.bulk.estimate import price_lines

        counts, price = self._estimate()
        if as_json:
            done = {"rows_done": counts.done, "rows_given_up": counts.given_up}
            cost = asdict(price) | {"hours": price.known_hours} | self._money(price)
            print_json({**done, **cost, **bad_rows_content(self.checked)})
            return
        for line in (*counts.lines(), *price_lines(price, self.price_per_hour)):
            click.echo(line)
        if bad := self.checked.bad_rows:
            click.echo(f"{counted(str(bad), 'row')} cannot be rendered and {'is' if bad == 1 else 'are'} skipped")

    def _money(self, price: Price) -> dict[str, float | None]:
        """The cost for programs: null where no time is known."""
        if self.price_per_hour is None:
            return {}
        hours = price.known_hours
        return {"cost": None if hours is None else hours * self.price_per_hour}

    def _estimate(self) -> tuple[RowCounts, Price]:
        from acestep_flows.bulk.driver import settled_rows
        from acestep_flows.bulk.estimate import missing, price, seconds_seen
        from acestep_flows.bulk.job_timings import JobTimings
        from acestep_flows.bulk.journal import SongJournal
        from acestep_flows.bulk.ledger import Ledger
        from acestep_flows.graph.execution.scheduler import Scheduler
        from acestep_flows.session import Session

        ledger = Ledger(self.job_folder)
        settled = settled_rows(SongJournal(self.job_folder, self.shard), ledger, again=self.again)
        counts = RowCounts.of(self.rows, self.shard, settled)
        timings = JobTimings(read_settings().results, self.pool)
        placement = self.pool.processes[self.pool.home_of["sample"]].placement
        with Session(self.weights, placement) as session:
            # Jobs do not read stored results, so the estimate is made without them.
            scheduler = Scheduler(session.scheduler.stages, session.scheduler.runner, timings=timings)
            cost = price(
                self.rows, counts.left, scheduler, self.pool, self.job.audio, seconds_seen(ledger.rows()),
                missing(self.shard, settled),
            )  # fmt: skip
        return counts, cost
