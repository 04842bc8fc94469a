"""What the command `bulk` does with its options."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_flows.cli.bulk_end import tell_end
from acestep_flows.cli.bulk_rows import RowOptions, tell_rows
from acestep_flows.cli.command_log import CommandLog
from acestep_flows.cli.stop_signals import StopSignal, sigterm_as_interrupt
from acestep_flows.errors import InputError
from acestep_flows.optional_packages import how_to_install, is_missing, require
from acestep_flows.settings import read_settings
from acestep_flows.weights.choose import Weights, choose_weights
from acestep_flows.wording.log_lines import LogFormat
from acestep_flows.wording.phrases import counted

if TYPE_CHECKING:
    from acestep_flows.bulk.check import Checked
    from acestep_flows.bulk.driver import Renderer
    from acestep_flows.bulk.finish import Finished
    from acestep_flows.bulk.job import BulkJob, Shard
    from acestep_flows.bulk.job_folder import JobFolder
    from acestep_flows.bulk.results import JobOutcome
    from acestep_flows.bulk.row_work import JobWork
    from acestep_flows.bulk.rows import JobRows
    from acestep_flows.runtime.serving.pool import Pool

AUTO = "auto"
"""The pool that suits the machine, as `runtime.serving.pool` names it; that module is imported later."""


@dataclass(frozen=True)
class BulkCommand:
    """The options of the command."""

    manifest: str
    name: str
    out: str
    assignments: Sequence[str]
    sweeps: Sequence[str]
    ignored: Sequence[str]
    on_bad_row: str
    layout: str
    audio: str
    embed: bool
    folder_size: int
    output: str | None
    gates: Sequence[str]
    retakes: int
    retries: int
    upgrade: bool
    again: bool
    seed: int
    shard: str | None
    pool: str
    address: str | None
    via: str | None
    checkpoint: str | None
    lyric_vocab: Path | None
    folders: Sequence[Path]
    tracking: str | None
    dry_run: bool
    as_json: bool
    price_per_hour: float | None
    quiet: bool
    log_format: LogFormat

    @cached_property
    def log(self) -> CommandLog:
        """The log that writes the lines of this command to stderr."""
        return CommandLog("bulk", self.log_format)

    def run(self) -> None:
        """Check everything, render the missing rows, then write data set and report."""
        stop = StopSignal()
        with self.log.formatted():
            try:
                with sigterm_as_interrupt(stop):
                    self._run(stop)
            except KeyboardInterrupt:
                self.log.warn("stopped; the same command goes on")
                sys.exit(stop.exit_code)

    def _run(self, stop: StopSignal) -> None:
        self._refuse_contradictions()
        self._require_packages()
        from acestep_flows.bulk.gates import parse_gate
        from acestep_flows.bulk.job import Shard, parse_shard
        from acestep_flows.bulk.job_folder import JobFolder

        gates = tuple(parse_gate(text) for text in self.gates)
        shard = parse_shard(self.shard) if self.shard else Shard()
        job_folder = JobFolder(self.out)
        rows, checked = self._rows()
        pool, weights = self._pool_and_weights()
        job = self._job(rows, checked, gates, weights)
        if self.via:
            self._meet_server(job)
        if self.dry_run:
            self._dry_run(rows, checked, job, job_folder, shard, pool, weights)
            return
        outcome, finished = self._render(rows, checked, job, job_folder, shard, pool, weights)
        if finished is None:
            left = counted(str(outcome.progress.left), "row")
            self.log.warn(f"stopped with {left} to go; the same command goes on")
            sys.exit(stop.exit_code)
        tell_end(self.log, job_folder, outcome, finished, has_exact_length="exact_length" in rows.declared)

    def _refuse_contradictions(self) -> None:
        pool = self.pool != AUTO
        for option, value in (("--pool", pool), ("--ray", self.address), ("--checkpoint", self.checkpoint)):
            if self.via and value:
                raise InputError("the server has its own", where=option, allowed="without --via")
        if self.via and self.dry_run:
            raise InputError("a server's times are not known here", where="--dry-run", allowed="without --via")
        if self.as_json and not self.dry_run:
            raise InputError("only a dry run is told as JSON", where="--json", allowed="with --dry-run")
        if self.price_per_hour is not None and not self.dry_run:
            raise InputError("nothing is estimated", where="--price-per-hour", allowed="together with --dry-run")
        if self.retakes and not self.gates:
            raise InputError("no gate can ask for another take", where="--retake", allowed="together with --require")
        if self.embed and self.layout != "parquet":
            raise InputError(f"{self.layout} files hold the audio anyway", where="--embed", allowed="--format parquet")

    def _require_packages(self) -> None:
        """Refuse at once where a package is missing: Ray renders, unless a server does; Arrow reads and writes."""
        require("bulk", "bulk", ("pyarrow",) if self.via else ())
        if self.tracking not in (None, "off"):
            require("tracking", "--tracking")

    def _tracking(self) -> str | None:
        """Where to track. Without MLflow nothing is tracked unless the user asked for it, and a line says so."""
        if self.tracking is None and is_missing("tracking"):
            if not self.quiet:
                self.log.tell(f"not tracked, as MLflow is not installed: {how_to_install('tracking')}")
            return "off"
        return self.tracking

    def _rows(self) -> tuple[JobRows, Checked]:
        """The rows, each of them checked; bad rows are listed on stderr."""
        from acestep_flows.bulk.check import check

        options = {name: getattr(self, name) for name in RowOptions.__dataclass_fields__ if name != "gated"}
        rows = RowOptions(gated=bool(self.gates), **options).read()
        checked = check(rows)
        tell_rows(self.log, rows, checked, skip=self.on_bad_row == "skip", as_json=self.as_json)
        return rows, checked

    def _pool_and_weights(self) -> tuple[Pool | None, Weights | None]:
        """Where to render, and with which weights; None where a server renders."""
        if self.via:
            return None, None
        from acestep_flows.bulk.default_pool import suited_pool
        from acestep_flows.runtime.serving.pool import Pool

        pool = None if self.pool == AUTO else Pool.read(self.pool)
        named = pool.lyric_vocab if pool is not None else None
        vocab = self.lyric_vocab or (Path(named) if named else None)
        weights = choose_weights(read_settings(), self.checkpoint or (pool.checkpoint if pool else None), vocab)
        if weights.origin != "argument" and not self.quiet:
            self.log.tell(f"weights: {weights}")
        if pool is None:
            pool = suited_pool(weights.open())
            if not self.quiet:
                self.log.tell(f"pool: {pool.name}: {pool.summary}")
        return pool, weights

    def _job(self, rows: JobRows, checked: Checked, gates: Any, weights: Weights | None) -> BulkJob:
        from acestep_flows.bulk.prepare import job_of

        return job_of(
            rows,
            checked,
            weights.open() if weights is not None else None,
            output=self.output,
            model=weights.model if weights is not None else str(self.via),
            seed=self.seed,
            ignored=tuple(self.ignored),
            on_bad_row=self.on_bad_row,
            gates=gates,
            retakes=self.retakes,
            layout=self.layout,
            audio=self.audio,
            embed=self.embed,
            folder_size=self.folder_size,
        )

    def _dry_run(
        self,
        rows: JobRows,
        checked: Checked,
        job: BulkJob,
        job_folder: JobFolder,
        shard: Shard,
        pool: Pool | None,
        weights: Weights | None,
    ) -> None:
        from acestep_flows.cli.bulk_dry_run import DryRun

        assert pool is not None
        assert weights is not None
        dry_run = DryRun(
            job, job_folder, rows, checked, shard, pool, weights, again=self.again, price_per_hour=self.price_per_hour
        )
        dry_run.check_folder(upgrade=self.upgrade)
        dry_run.tell(as_json=self.as_json)

    def _render(
        self,
        rows: JobRows,
        checked: Checked,
        job: BulkJob,
        job_folder: JobFolder,
        shard: Shard,
        pool: Pool | None,
        weights: Weights | None,
    ) -> tuple[JobOutcome, Finished | None]:
        from acestep_flows.bulk.driver import run_job
        from acestep_flows.bulk.finish import finish
        from acestep_flows.bulk.ledger import Ledger
        from acestep_flows.bulk.resume import begin
        from acestep_flows.bulk.row_work import JobWork
        from acestep_flows.bulk.tracking import tracking
        from acestep_flows.cli.bulk_progress import show_job

        job_folder.prepare()
        begin(job_folder, job, checked, upgrade=self.upgrade)
        work = JobWork(job, job_folder, weights, pool.extras if pool is not None else (), shard)
        more = {"pool": pool.model_dump_json() if pool is not None else self.via}
        with ExitStack() as stack:
            before = Ledger(job_folder).totals(shard)
            track = stack.enter_context(tracking(self._tracking(), job_folder, job, shard, more, before))
            with show_job(self.quiet, log=self.log) as show:

                def watch(progress: Any) -> None:
                    show(progress)
                    if track is not None:
                        track.watch(progress)

                renderer = self._renderer(work, pool)
                outcome = run_job(
                    work, rows, renderer, shard=shard, retries=self.retries, again=self.again, watch=watch
                )
            finished = None if outcome.interrupted else finish(job_folder, job, shard, track)
            if track is not None:
                track.end("KILLED" if outcome.interrupted else "FINISHED")
        return outcome, finished

    def _meet_server(self, job: BulkJob) -> None:
        """Refuse a server that does not answer, or has another graph of this name, before anything is written."""
        from acestep_flows.bulk.server_renderer import meet_server
        from acestep_flows.client import Client

        with Client(self.via, read_settings().api_key) as client:
            meet_server(client, job)

    def _renderer(self, work: JobWork, pool: Pool | None) -> Renderer:
        if self.via:
            from acestep_flows.bulk.server_renderer import ServerRenderer
            from acestep_flows.client import Client

            return ServerRenderer(work, Client(self.via, read_settings().api_key), must_answer=True)
        from acestep_flows.bulk.job_timings import JobTimings
        from acestep_flows.bulk.pool_renderer import PoolRenderer

        assert pool is not None
        # A cluster's machines are others than the one that a dry run estimates for.
        timings = JobTimings(read_settings().results, pool) if self.address is None else None
        return PoolRenderer(work, pool, address=self.address, timings=timings)
