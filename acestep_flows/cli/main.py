"""The command line. Each command is a few lines over a module that does the work; heavy imports wait inside.

acestep-flows run text2music --set tags="city pop" --set lyrics=@song.txt --set duration=30 --out songs
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from acestep_flows import __version__
from acestep_flows.cli.adapter import adapter
from acestep_flows.cli.bulk import bulk
from acestep_flows.cli.compare import compare
from acestep_flows.cli.completion import GRAPH
from acestep_flows.cli.encode import encode
from acestep_flows.cli.graphs import graph, graphs, stages
from acestep_flows.cli.helping import give_examples, help_command
from acestep_flows.cli.json_output import comparison_content, json_option, print_json
from acestep_flows.cli.operation import audit, queue
from acestep_flows.cli.options import (
    FILE,
    FOLDER,
    INPUTS_HELP,
    SECONDS,
    from_option,
    library_option,
    open_session,
    out_option,
    planned_by_options,
    print_lines,
    session_options,
    set_option,
    sources_option,
    weights_options,
)
from acestep_flows.cli.owners import adopt, usage
from acestep_flows.cli.server_keys import keys
from acestep_flows.cli.serving import COMMANDS
from acestep_flows.cli.studio import studio
from acestep_flows.cli.submit import submit
from acestep_flows.cli.terminal import EXIT_CODES_HELP, Commands, interruptible, notes_shown, quiet_libraries
from acestep_flows.cli.training import train
from acestep_flows.lazy_imports import leave_objects_at_exit
from acestep_flows.settings import read_settings
from acestep_flows.storage import check_working_folder
from acestep_flows.weights.choose import choose_weights

if TYPE_CHECKING:
    from acestep_flows.session import PlannedRun, RunResult, Session

FORMATS = ("wav", "flac", "mp3", "ogg")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES_HELP)
@click.version_option(__version__, prog_name="acestep-flows")
@click.option("--traceback", is_flag=True, hidden=True, help="Show where an error comes from.")
def cli(traceback: bool) -> None:
    """ACE-Step v1 workflows: text to music, and every edit of it, as graphs of stages."""
    if not traceback:
        quiet_libraries()
    check_working_folder()


@cli.command(epilog=INPUTS_HELP)
@click.argument("graph", type=GRAPH, required=False)
@set_option
@from_option
@sources_option
@out_option
@click.option("--name", metavar="NAME", help="Name of the files; files of this name are replaced.")
@click.option(
    "--format",
    "format",
    type=click.Choice(FORMATS),
    help="Format of audio.  [default: what the name ends in, else wav]",
)
@click.option("--keep", multiple=True, metavar="OUTPUT", help="Also write this output, such as latents, as a file.")
@click.option(
    "--deadline",
    type=SECONDS,
    metavar="SECONDS",
    help="Stop the run after this many seconds.",
)
@click.option("--quiet", is_flag=True, help="No progress, notes and summary: only warnings and errors.")
@json_option
@library_option
@session_options()
def run(
    graph: str | None,
    assignments: tuple[str, ...],
    recipe: Path | None,
    sources: tuple[Path, ...],
    out: Path,
    name: str | None,
    format: str | None,
    keep: tuple[str, ...],
    deadline: float | None,
    quiet: bool,
    as_json: bool,
    folders: tuple[Path, ...],
    **session_options: Any,
) -> None:
    """Run GRAPH, a name or a YAML file, and write its outputs."""
    from acestep_flows.cli.listing import run_facts
    from acestep_flows.outputs import check_kept
    from acestep_flows.session.progress import show_writing
    from acestep_flows.session.result import TargetWords, output_target
    from acestep_flows.storage import check_folder

    with notes_shown(not quiet):
        planned = planned_by_options(graph, folders, assignments, recipe, sources, quiet=quiet)
        check_kept(planned.plan, keep)
        target = output_target(out, name or None, format, TargetWords("--out", "--name", "--format"))
        check_folder(target.folder)
        with open_session(deadline=deadline, quiet=quiet, **session_options) as session:
            result = _run(session, planned, quiet)
            with show_writing(quiet):
                files = result.save(target.folder, name=target.stem, format=target.format, keep=keep)
    if as_json:
        print_json(run_facts(result, files))
        return
    print_lines(files)
    for line in () if quiet else result.summary:
        click.echo(line, err=True)


@cli.command()
@click.argument("file", type=FILE)
@sources_option
@click.option("--quiet", is_flag=True, help="No progress and no notes.")
@session_options(cache="off")
@json_option
def replay(file: Path, sources: tuple[Path, ...], quiet: bool, as_json: bool, **session_options: Any) -> None:
    """Repeat the run that made FILE (an audio file or a recipe), and compare both runs node by node."""
    from acestep_flows.cli.listing import comparison_lines
    from acestep_flows.cli.replay_job import planned_again, recipe_of
    from acestep_flows.graph.execution.disk_cache import DiskStore
    from acestep_flows.graph.records import replay as replays

    recipe = recipe_of(file)
    planned = planned_again(recipe, str(file), sources, DiskStore(read_settings().results))
    with notes_shown(not quiet), open_session(quiet=quiet, **session_options) as session:
        comparison = replays.compare(recipe, _run(session, planned, quiet).recipe)
    if as_json:
        print_json(comparison_content(comparison))
    else:
        print_lines(comparison_lines(comparison))
    if not comparison.same:
        raise click.exceptions.Exit(1)


@cli.command()
@click.argument("model", required=False, metavar="[ORG/NAME]")
@click.option(
    "--to",
    "folder",
    type=FOLDER,
    help="Folder for copies of the files.  [default: links to the hub's cache]",
)
@click.option("--endpoint", metavar="URL", help="Address of the hub, or of a mirror.")
@click.option("--lyric-vocab", type=FILE, help="A local copy of the lyric vocabulary to take.")
@click.option("--lyric-vocab-path", metavar="PATH", help="Where the vocabulary is in the project's space.")
@click.option("--quiet", is_flag=True, help="No progress.")
def fetch(
    model: str | None,
    folder: Path | None,
    endpoint: str | None,
    lyric_vocab: Path | None,
    lyric_vocab_path: str | None,
    quiet: bool,
) -> None:
    """Download the published model (8.3 GB), or ORG/NAME of the hub: resumable, verified.

    What the hub's cache has is not downloaded again. HF_HUB_OFFLINE=1 forbids to download at all.
    """
    from acestep_flows.cli.progress import show_transfers
    from acestep_flows.weights import hub, hub_cache
    from acestep_flows.weights.hub_listing import listing

    settings = read_settings()
    named = model is not None and model != hub.published().repo
    files = listing(model, endpoint, settings.hub_token) if model is not None and named else hub.published()
    with show_transfers(quiet) as listener:
        fetched = hub.fetch(
            folder or hub.default_folder(settings.cache, files),
            published_files=files,
            share=folder is None,
            endpoint=endpoint,
            token=settings.hub_token,
            lyric_vocab=lyric_vocab,
            lyric_vocab_path=lyric_vocab_path,
            listener=listener,
        )
    if named and folder is None:
        hub_cache.set_main(files.repo, files.revision)
    click.echo(fetched)


@cli.command()
@weights_options
@json_option
def doctor(checkpoint: str | None, lyric_vocab: Path | None, as_json: bool) -> None:
    """Check this machine and suggest fixes. Exits with 1 where something fails that is needed."""
    from acestep_flows.cli.doctor import conclusion, examine
    from acestep_flows.cli.progress import show_checks

    settings = read_settings()
    weights = choose_weights(settings, checkpoint, lyric_vocab)
    findings = []
    with show_checks() as begins:
        for finding in examine(settings, weights, begins=begins):
            begins("")
            findings.append(finding)
            if as_json:
                continue
            click.echo(f"{finding.verdict:8} {finding.check:12} {finding.message}")
            if finding.advice:
                click.echo(f"{'':8} {'':12} -> {finding.advice}")
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        click.echo(conclusion(findings))
    if any(finding.verdict == "failure" for finding in findings):
        raise click.exceptions.Exit(1)


OTHERS = (
    *(adapter, adopt, audit, bulk, compare, encode, graph, graphs, keys),
    *(queue, stages, studio, submit, train, usage),
)
for command in (*COMMANDS, *OTHERS, help_command):
    cli.add_command(command)
give_examples(cli)


def _run(session: Session, planned: PlannedRun, quiet: bool) -> RunResult:
    """Run a plan with progress on stderr; ctrl-C stops it at its next step boundary."""
    handle = session.start(planned, progress=not quiet)
    with interruptible(handle.cancel):
        return handle.result()


def main() -> None:
    """Entry point of the `acestep-flows` command."""
    try:
        cli()
    finally:
        leave_objects_at_exit()
