"""The command of the third door: `bulk` renders a whole manifest."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from acestep_flows.cli.json_output import print_json
from acestep_flows.cli.terminal import INTERRUPTED
from acestep_flows.errors import InputError
from acestep_flows.settings import read_settings
from acestep_flows.weights.choose import Weights, choose_weights

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

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("manifest", required=False, default="")
@click.option("--graph", "name", required=True, metavar="NAME", help="The graph that every row goes through.")
@click.option("--out", required=True, metavar="DIR|URL", help="Job folder; repeat the command to resume.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="An input that all rows share.")
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="NAME=VALUES",
    help="Multiply every row by these values: seed=0..99, or NAME=@FILE.",
)
@click.option(
    "--ignore",
    "ignored",
    multiple=True,
    metavar="COLUMN",
    help="Allow this column although it is not an input; '*' allows all.",
)
@click.option("--on-bad-row", type=click.Choice(["refuse", "skip"]), default="refuse", show_default=True)
@click.option(
    "--format",
    "layout",
    type=click.Choice(["parquet", "webdataset", "ace-training"]),
    default="parquet",
    show_default=True,
    help="Format of the data set.",
)
@click.option("--audio", type=click.Choice(["flac", "wav", "mp3", "ogg"]), default="flac", show_default=True)
@click.option("--embed", is_flag=True, help="Write the audio into the parquet files too.")
@click.option("--folder-size", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, metavar="ROWS")
@click.option("--output", metavar="NAME", help="The graph's output that is the song, where it has several.")
@click.option(
    "--require", "gates", multiple=True, metavar="GATE", help='What a song must measure: "silence_share<0.5".'
)
@click.option(
    "--retake",
    "retakes",
    type=click.IntRange(0, 100),
    default=0,
    help="How often a song that fails --require is made again with another seed.",
)
@click.option("--retries", type=click.IntRange(0, 100), default=2, show_default=True, help="Attempts after an error.")
@click.option(
    "--accept-upgrade",
    "upgrade",
    is_flag=True,
    help="Go on with a job that an earlier version began. Rows that are done stay; this version makes the others.",
)
@click.option("--again", is_flag=True, help="Also retry rows that were given up.")
@click.option(
    "--job-seed", "seed", type=click.IntRange(0, 2**32 - 1), default=0, help="Base seed for rows without a seed."
)
@click.option("--shard", metavar="N/OF", help="Render only this part, e.g. 3/16 (for several machines).")
@click.option("--pool", metavar="FILE", help="Pool file, or a shipped one by name.  [default: every core, or the GPU]")
@click.option("--ray", "address", metavar="ADDRESS", help="Address of a running Ray cluster.")
@click.option("--via", metavar="URL", help="Let a running server render.")
@click.option("--checkpoint", metavar="DIR", help="Weights in the published layout, or 'embedded'.")
@click.option("--lyric-vocab", type=FILE, help="Lyric vocabulary, if it is not in the checkpoint folder.")
@click.option("--graphs", "folders", multiple=True, type=FOLDER, help="Folder to look for graphs in; may be repeated.")
@click.option("--tracking", metavar="URI", help="MLflow store, or 'off'.  [default: a file in the job's folder]")
@click.option("--dry-run", is_flag=True, help="Check every row and say what the job would take; render nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: print JSON for programs.")
@click.option("--quiet", is_flag=True, help="No progress.")
def bulk(**options: Any) -> None:
    """Render every row of MANIFEST (parquet, jsonl or csv): a column for each input of the graph, and `id`.

    However it is stopped, the same command goes on with the missing rows. Rows that fail are retried, then written to
    the table of dead letters; they never end the job.
    """
    _BulkCommand(**options).run()


@dataclass(frozen=True)
class _BulkCommand:
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
    pool: str | None
    address: str | None
    via: str | None
    checkpoint: str | None
    lyric_vocab: Path | None
    folders: Sequence[Path]
    tracking: str | None
    dry_run: bool
    as_json: bool
    quiet: bool

    def run(self) -> None:
        """Check everything, render the missing rows, then write data set and report."""
        from acestep_flows.bulk.gates import parse_gate
        from acestep_flows.bulk.job import parse_shard
        from acestep_flows.bulk.job_folder import JobFolder

        self._refuse_contradictions()
        gates = tuple(parse_gate(text) for text in self.gates)
        shard = parse_shard(self.shard) if self.shard else None
        job_folder = JobFolder(self.out)
        rows, checked = self._rows()
        pool, weights = self._pool_and_weights()
        job = self._job(rows, checked, gates, weights)
        if self.dry_run:
            self._price(rows, job, job_folder, shard, pool, weights)
            return
        outcome, finished = self._render(rows, checked, job, job_folder, shard, pool, weights)
        self._tell(job, job_folder, outcome, finished)

    def _refuse_contradictions(self) -> None:
        for option, value in (("--pool", self.pool), ("--ray", self.address), ("--checkpoint", self.checkpoint)):
            if self.via and value:
                raise InputError("the server has its own", where=option, allowed="without --via")
        if self.via and self.dry_run:
            raise InputError("a server's times are not known here", where="--dry-run", allowed="without --via")
        if self.as_json and not self.dry_run:
            raise InputError("only a dry run is told as JSON", where="--json", allowed="with --dry-run")
        if self.embed and self.layout != "parquet":
            raise InputError(f"{self.layout} files hold the audio anyway", where="--embed", allowed="--format parquet")

    def _rows(self) -> tuple[JobRows, Checked]:
        """The rows, each of them checked; bad rows are listed on stderr."""
        from acestep_flows.bulk.check import check
        from acestep_flows.bulk.inputs import PathReader
        from acestep_flows.bulk.manifest import open_manifest
        from acestep_flows.bulk.rows import JobRows
        from acestep_flows.bulk.sweep import parse_sweep
        from acestep_flows.cli.set_inputs import InputForms
        from acestep_flows.graph.checking.check import checked as checked_graph
        from acestep_flows.graph.library import Library
        from acestep_flows.stages.registry import stages

        library = Library(self.folders)
        scope = checked_graph(library.load(self.name), stages(), library.nested)
        declared = scope.graph.inputs
        rows = JobRows(
            open_manifest(self.manifest) if self.manifest else None,
            scope,
            constants=InputForms.of(declared).read(PathReader(), self.assignments),
            sweeps=[parse_sweep(text, declared) for text in self.sweeps],
            ignored=self.ignored,
            seed=self.seed,
        )
        checked = check(rows)
        for bad in checked.bad:
            click.echo(bad, err=True)
        if checked.bad_rows > len(checked.bad):
            click.echo(f"and {checked.bad_rows - len(checked.bad)} more", err=True)
        if checked.bad_rows and self.on_bad_row == "refuse":
            what = f"{checked.bad_rows} of {checked.source.rows} rows cannot be rendered"
            raise InputError(what, where=self.manifest, allowed="good rows, or --on-bad-row skip")
        return rows, checked

    def _pool_and_weights(self) -> tuple[Pool | None, Weights | None]:
        """Where to render, and with which weights; None where a server renders."""
        if self.via:
            return None, None
        from acestep_flows.bulk.default_pool import suited_pool
        from acestep_flows.runtime.serving.pool import Pool

        pool = Pool.read(self.pool) if self.pool else None
        named = pool.lyric_vocab if pool is not None else None
        vocab = self.lyric_vocab or (Path(named) if named else None)
        weights = choose_weights(read_settings(), self.checkpoint or (pool.checkpoint if pool else None), vocab)
        if weights.origin != "argument":
            click.echo(f"weights: {weights}", err=True)
        return pool or suited_pool(weights.open()), weights

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

    def _price(
        self,
        rows: JobRows,
        job: BulkJob,
        job_folder: JobFolder,
        shard: Shard | None,
        pool: Pool | None,
        weights: Weights | None,
    ) -> None:
        from acestep_flows.bulk.estimate import price, price_lines, seconds_seen
        from acestep_flows.bulk.ledger import Ledger
        from acestep_flows.session import Session

        assert pool is not None
        assert weights is not None
        ledger = Ledger(job_folder)
        settled = len(ledger.standing(again=self.again).settled)
        wanted = len(range(shard.number - 1, job.rows, shard.of)) if shard is not None else job.rows - settled
        placement = pool.processes[pool.home_of["sample"]].placement
        with Session(weights, placement) as session:
            cost = price(rows, max(0, wanted), session.scheduler, pool, self.audio, seconds_seen(ledger.rows()))
        if self.as_json:
            print_json({"rows_done": settled, **asdict(cost)})
            return
        if settled:
            click.echo(f"{settled} rows are done")
        for line in price_lines(cost):
            click.echo(line)

    def _render(
        self,
        rows: JobRows,
        checked: Checked,
        job: BulkJob,
        job_folder: JobFolder,
        shard: Shard | None,
        pool: Pool | None,
        weights: Weights | None,
    ) -> tuple[JobOutcome, Finished | None]:
        from acestep_flows.bulk.driver import run_job
        from acestep_flows.bulk.finish import finish
        from acestep_flows.bulk.resume import begin
        from acestep_flows.bulk.row_work import JobWork
        from acestep_flows.bulk.tracking import tracking
        from acestep_flows.cli.bulk_progress import show_job

        job_folder.prepare()
        if begin(job_folder, job, checked, upgrade=self.upgrade) and not self.quiet:
            click.echo("the job goes on", err=True)
        work = JobWork(job, job_folder, weights, pool.extras if pool is not None else ())
        more = {"pool": pool.model_dump_json() if pool is not None else self.via}
        with ExitStack() as stack:
            track = stack.enter_context(tracking(self.tracking, job_folder, job, shard, more))
            with show_job(self.quiet) as show:

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

    def _renderer(self, work: JobWork, pool: Pool | None) -> Renderer:
        if self.via:
            from acestep_flows.bulk.server_renderer import ServerRenderer
            from acestep_flows.client import Client

            return ServerRenderer(work, Client(self.via, read_settings().api_key))
        from acestep_flows.bulk.pool_renderer import PoolRenderer

        assert pool is not None
        return PoolRenderer(work, pool, address=self.address)

    def _tell(self, job: BulkJob, job_folder: JobFolder, outcome: JobOutcome, finished: Finished | None) -> None:
        from acestep_flows.bulk.formats import FOLDER as FOLDER_OF_SET

        progress = outcome.progress
        if finished is None:
            click.echo(f"stopped with {progress.left} rows to go; the same command goes on", err=True)
            sys.exit(INTERRUPTED)
        if progress.failed:
            click.echo(f"{progress.failed} rows were given up; {job_folder.url}/dead-letters says why", err=True)
        if outcome.duplicates:
            click.echo(f"{outcome.duplicates} rows have the song of another row: their inputs are the same", err=True)
        if finished.alike:
            click.echo(f"{len(finished.alike)} songs sound like earlier ones", err=True)
        for path in (FOLDER_OF_SET, finished.report):
            click.echo(f"{job_folder.url}/{path}")
