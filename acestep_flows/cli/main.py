"""The command line. Each command is a few lines over a module that does the work; heavy imports wait inside.

acestep-flows run text2music --set tags="city pop" --set lyrics=@song.txt --set duration=30 --out songs
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from acestep_flows import __version__
from acestep_flows.cli.adapter import adapter
from acestep_flows.cli.bulk import bulk
from acestep_flows.cli.encode import encode
from acestep_flows.cli.serving import COMMANDS
from acestep_flows.cli.terminal import EXIT_CODES_HELP, Commands, quiet_libraries
from acestep_flows.cli.training import train
from acestep_flows.settings import read_settings
from acestep_flows.weights.choose import choose_weights

if TYPE_CHECKING:
    from acestep_flows.cli.replay_job import ReplayJob
    from acestep_flows.graph.checking.scope import Scope
    from acestep_flows.graph.execution.result import Result
    from acestep_flows.graph.library import Library
    from acestep_flows.graph.planning.plan import Plan
    from acestep_flows.session import Engine

Command = TypeVar("Command", bound=Callable[..., Any])

FORMATS = ("wav", "flac", "mp3", "ogg")
FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES_HELP)
@click.version_option(__version__, prog_name="acestep-flows")
@click.option("--traceback", is_flag=True, hidden=True, help="Show where an error comes from.")
def cli(traceback: bool) -> None:
    """ACE-Step v1 workflows: text to music, and every edit of it, as graphs of stages."""
    if not traceback:
        quiet_libraries()


def _together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_library_option = click.option(
    "--graphs", "folders", multiple=True, type=FOLDER, help="Folder to look for graphs in; may be repeated."
)
_set_option = click.option(
    "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A graph input; NAME=@FILE takes a file."
)
_weights_options = _together(
    click.option("--checkpoint", metavar="DIR", help="Weights in the published layout, or 'embedded'."),
    click.option("--lyric-vocab", type=FILE, help="Lyric vocabulary, where it does not lie in the checkpoint."),
)


def _engine_options(cache: str = "use") -> Callable[[Command], Command]:
    modes = click.Choice(["use", "refresh", "off"])
    return _together(
        _weights_options,
        click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:N, mps."),
        click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", show_default=True),
        click.option("--compile", is_flag=True, help="torch.compile the denoiser."),
        click.option("--cache", type=modes, default=cache, show_default=True, help="Use results of earlier runs?"),
    )


@cli.command()
@click.argument("graph")
@_set_option
@click.option("--out", type=FOLDER, default=Path("outputs"), show_default=True, help="Folder for the files.")
@click.option("--name", "stem", metavar="NAME", help="Name of the files, which are replaced if they are there.")
@click.option("--format", "format", type=click.Choice(FORMATS), default="wav", show_default=True)
@click.option("--keep", multiple=True, metavar="OUTPUT", help="Also write this output (latents, mel) as a file.")
@click.option("--deadline", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Stop after this.")
@click.option("--quiet", is_flag=True, help="No progress.")
@_library_option
@_engine_options()
def run(
    graph: str,
    assignments: tuple[str, ...],
    out: Path,
    stem: str | None,
    format: str,
    keep: tuple[str, ...],
    deadline: float | None,
    quiet: bool,
    folders: tuple[Path, ...],
    **engine: Any,
) -> None:
    """Run GRAPH, a name or a YAML file, and write what it gives."""
    from acestep_flows import outputs as files
    from acestep_flows.graph.records.recipe import recipe
    from acestep_flows.storage import check_folder

    job = _job(graph, folders, assignments)
    files.check_kept(job.plan, keep)
    stem = files.check_stem(stem) if stem else files.unique_stem(job.plan.graph)
    check_folder(out)
    chosen = _engine(deadline=deadline, **engine)
    result, outputs = _run(chosen, job.plan, quiet)
    made = recipe(result, job.content, job.files, chosen.model)
    _print(files.write_outputs(out, stem, outputs, made, format=format, keep=keep))


@cli.command()
@click.argument("file", type=FILE)
@click.option("--quiet", is_flag=True, help="No progress.")
@_engine_options(cache="off")
def replay(file: Path, quiet: bool, **engine: Any) -> None:
    """Run again what made FILE (an audio file or a recipe) and compare the two runs node by node."""
    from acestep_flows.cli.listing import comparison_lines
    from acestep_flows.cli.replay_job import job_again, recipe_of
    from acestep_flows.graph.records.recipe import recipe
    from acestep_flows.graph.records.replay import compare

    before = recipe_of(file)
    job = job_again(before, str(file))
    result, _ = _run(_engine(**engine), job.plan, quiet)
    comparison = compare(before, recipe(result, job.content, job.files))
    _print(comparison_lines(comparison))
    if not comparison.same:
        raise click.exceptions.Exit(1)


@cli.command()
@click.option("--to", "folder", type=FOLDER, help="Folder for the weights; by default in the cache.")
@click.option("--endpoint", metavar="URL", help="Address of the hub, or of a mirror.")
@click.option("--lyric-vocab", type=FILE, help="A local copy of the lyric vocabulary to take.")
@click.option("--lyric-vocab-path", metavar="PATH", help="Where the vocabulary is in the project's space.")
@click.option("--quiet", is_flag=True, help="No progress.")
def fetch(
    folder: Path | None, endpoint: str | None, lyric_vocab: Path | None, lyric_vocab_path: str | None, quiet: bool
) -> None:
    """Download the published model (8.3 GB): resumable, verified."""
    from acestep_flows.cli.progress import show_transfers
    from acestep_flows.weights import hub

    settings = read_settings()
    with show_transfers(quiet) as listener:
        done = hub.fetch(
            folder or hub.default_folder(settings.cache),
            endpoint=endpoint,
            token=settings.hub_token,
            lyric_vocab=lyric_vocab,
            lyric_vocab_path=lyric_vocab_path,
            listener=listener,
        )
    click.echo(done)


@cli.command()
@_weights_options
def doctor(checkpoint: str | None, lyric_vocab: Path | None) -> None:
    """Check this machine, and say what to do about what is wrong."""
    from acestep_flows.cli.doctor import examine

    settings = read_settings()
    failed = False
    for finding in examine(settings, choose_weights(settings, checkpoint, lyric_vocab)):
        click.echo(f"{finding.verdict:8} {finding.check:12} {finding.message}")
        if finding.advice:
            click.echo(f"{'':8} {'':12} -> {finding.advice}")
        failed |= finding.verdict == "failure"
    if failed:
        raise click.exceptions.Exit(1)


@cli.command()
@_library_option
def graphs(folders: tuple[Path, ...]) -> None:
    """List the graphs there are."""
    from acestep_flows.cli.listing import summaries

    library = _library(folders)
    _print(summaries((name, library.load(path)) for name, path in library.names().items()))


@cli.command()
@click.argument("name", required=False)
@click.option("--markdown", is_flag=True, help="All of them as a page.")
def stages(name: str | None, markdown: bool) -> None:
    """List what graphs are made of, or say what stage NAME takes and gives."""
    from acestep_flows.cli.listing import stage_lines, table
    from acestep_flows.stages import reference
    from acestep_flows.stages.registry import stage_class
    from acestep_flows.stages.registry import stages as every

    if markdown:
        click.echo(reference.markdown(every()), nl=False)
    elif name is None:
        _print(table([(stage.name, reference.summary(stage)) for stage in every().values()]))
    else:
        _print(stage_lines(stage_class(name)))


@cli.group()
def graph() -> None:
    """Look at a graph: show, check, plan."""


@graph.command()
@click.argument("name")
@_library_option
@click.option("--json", "form", flag_value="json", help="The JSON Schema of its inputs.")
@click.option("--dot", "form", flag_value="dot", help="A picture for Graphviz.")
@click.option("--mermaid", "form", flag_value="mermaid", help="A picture for Markdown.")
@click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="Write a picture to this file.")
def show(name: str, folders: tuple[Path, ...], form: str | None, png: Path | None) -> None:
    """Print what graph NAME takes, does and gives."""
    from acestep_flows.graph.views import describe, draw, schema
    from acestep_flows.stages.registry import stages

    library = _library(folders)
    shown = library.load(name)
    if png is not None:
        from acestep_flows.graph.views.draw_png import write_png

        write_png(shown, png)
        click.echo(png)
    elif form == "json":
        click.echo(json.dumps(schema.input_schema(shown), indent=2, ensure_ascii=False))
    elif form is not None:
        click.echo((draw.dot if form == "dot" else draw.mermaid)(shown), nl=False)
    else:
        click.echo(describe.describe(shown, stages(), library.nested), nl=False)


@graph.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_library_option
def check(names: Sequence[str], folders: tuple[Path, ...]) -> None:
    """Check graphs, by name or path, and list every problem."""
    from acestep_flows.errors import GraphError
    from acestep_flows.graph.checking.check import check as problems_of
    from acestep_flows.stages.registry import stages

    library = _library(folders)
    problems = [problem for name in names for problem in problems_of(library.load(name), stages(), library.nested)]
    if problems:
        raise GraphError(problems)
    click.echo(f"{len(names)} graph{'s' if len(names) > 1 else ''} without problems")


@graph.command()
@click.argument("name")
@_set_option
@_library_option
@_engine_options()
def plan(name: str, assignments: tuple[str, ...], folders: tuple[Path, ...], **engine: Any) -> None:
    """Say what running graph NAME would do, without doing it."""
    import asyncio

    from acestep_flows.cli.listing import forecast_lines
    from acestep_flows.graph.execution.forecast import forecast

    job = _job(name, folders, assignments)
    with _engine(**engine).scheduler() as scheduler:
        expected = asyncio.run(forecast(job.plan, scheduler))
    _print(forecast_lines(expected))
    if any(node.fate == "refused" for node in expected.nodes):
        raise click.exceptions.Exit(2)


for command in (*COMMANDS, adapter, bulk, encode, train):
    cli.add_command(command)


def _print(lines: Iterable[object]) -> None:
    for line in lines:
        click.echo(line)


def _library(folders: Sequence[Path]) -> Library:
    from acestep_flows.graph.library import Library

    return Library(folders)


def _scope(name: str, folders: Sequence[Path]) -> Scope:
    from acestep_flows.graph.checking.check import checked
    from acestep_flows.stages.registry import stages

    library = _library(folders)
    return checked(library.load(name), stages(), library.nested)


def _job(name: str, folders: Sequence[Path], assignments: Sequence[str]) -> ReplayJob:
    from acestep_flows.cli.replay_job import ReplayJob
    from acestep_flows.graph.planning.layout import lay_out
    from acestep_flows.graph.records.graph_content import graph_content
    from acestep_flows.input_reader import InputReader

    scope = _scope(name, folders)
    reader = InputReader()
    plan = lay_out(scope, reader.inputs(assignments, {name: kept.type for name, kept in scope.graph.inputs.items()}))
    for warning in plan.warnings:
        click.echo(f"warning: {warning}", err=True)
    return ReplayJob(plan, graph_content(scope), reader.files)


def _run(engine: Engine, plan: Plan, quiet: bool) -> tuple[Result, dict[str, Any]]:
    import asyncio

    from acestep_flows.cli.progress import show_run
    from acestep_flows.cli.terminal import interruptible

    async def work() -> tuple[Result, dict[str, Any]]:
        task = asyncio.ensure_future(engine.run(plan, listener))
        with interruptible(task):
            return await task

    with show_run(len(plan.nodes), quiet) as listener:
        return asyncio.run(work())


def _engine(
    *,
    checkpoint: str | None,
    lyric_vocab: Path | None,
    device: str,
    dtype: str,
    compile: bool,
    cache: str,
    deadline: float | None = None,
) -> Engine:
    from acestep_flows.model.placement import choose_placement
    from acestep_flows.session import Engine

    settings = read_settings()
    weights = choose_weights(settings, checkpoint, lyric_vocab)
    placement = choose_placement(device, dtype, compile)
    opened = weights.open()
    if weights.origin != "argument":
        click.echo(f"weights: {weights}", err=True)
    mode: Any = cache
    return Engine(opened, placement, settings.results, mode, deadline, weights.model)


def main() -> None:
    """Entry point of the `acestep-flows` command."""
    cli()
