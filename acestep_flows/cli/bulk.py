"""The command of the third door: `bulk` renders a whole manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from acestep_flows.cli.bulk_command import AUTO, BulkCommand
from acestep_flows.cli.command_log import log_format_option
from acestep_flows.cli.options import CHECKPOINT_HELP

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("manifest", required=False, default="")
@click.option(
    "--graph",
    "name",
    required=True,
    metavar="NAME",
    help="The graph that every row goes through: one that `acestep-flows graphs` lists, or a file.",
)
@click.option("--out", required=True, metavar="DIR|URL", help="Job folder; repeat the command to resume.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="An input that all rows share.")
@click.option(
    "--sweep",
    "sweeps",
    multiple=True,
    metavar="NAME=VALUES",
    help='Multiply every row by these values: seed=0..99, steps=20,60, tags=\'["pop", "folk"]\' (a JSON list, for '
    "text), or NAME=@FILE with a value on each line.",
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
@click.option(
    "--pool",
    default=AUTO,
    show_default="auto: every core, or the GPUs",
    metavar="FILE",
    help="Pool file, or a shipped one by name.",
)
@click.option("--ray", "address", metavar="ADDRESS", help="Address of a running Ray cluster.")
@click.option("--via", metavar="URL", help="Let a running server render.")
@click.option("--checkpoint", metavar="DIR|ORG/NAME", help=CHECKPOINT_HELP)
@click.option("--lyric-vocab", type=FILE, help="Lyric vocabulary, if it is not in the checkpoint folder.")
@click.option("--graphs", "folders", multiple=True, type=FOLDER, help="Folder to look for graphs in; may be repeated.")
@click.option("--tracking", metavar="URI", help="MLflow store, or 'off'.  [default: a file in the job's folder]")
@click.option("--dry-run", is_flag=True, help="Check every row and say what the job would take; render nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: print JSON for programs.")
@click.option(
    "--price-per-hour",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MONEY",
    help="With --dry-run: what an hour of the machine costs, to say what the job costs.",
)
@click.option("--quiet", is_flag=True, help="No progress.")
@log_format_option
def bulk(**options: Any) -> None:
    """Render every row of MANIFEST (parquet, jsonl or csv): a column for each input of the graph, and `id`.

    However it is stopped, the same command goes on with the missing rows. Rows that fail are retried, then written to
    the table of dead letters; they never end the job.
    """
    BulkCommand(**options).run()
