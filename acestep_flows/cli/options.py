"""Options that several commands share, and the session that they describe."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from acestep_flows.cli.completion import ASSIGNMENT
from acestep_flows.errors import InputError
from acestep_flows.settings import read_settings
from acestep_flows.weights.choose import choose_weights
from acestep_flows.wording.quantities import read_seconds

if TYPE_CHECKING:
    from acestep_flows.graph.checking.scope import Scope
    from acestep_flows.session import PlannedRun, Session

Command = TypeVar("Command", bound=Callable[..., Any])


class Seconds(click.ParamType[float]):
    """A length of time: `90`, `1:30` or `90s`."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, more than 0."""
        try:
            seconds = value if isinstance(value, float) else read_seconds(str(value), "")
        except InputError as error:
            self.fail(str(error), param, ctx)
        if not 0 < seconds < math.inf:
            self.fail(f"{value} (allowed: more than 0 seconds)", param, ctx)
        return seconds


class PngFile(click.Path):
    """The path of a picture that is written."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, which ends in `.png`."""
        path = Path(value)
        if path.suffix.lower() != ".png":
            self.fail(f"{str(path)!r} (allowed: a file that ends in .png)", param, ctx)
        return super().convert(value, param, ctx)


class Device(click.ParamType[str]):
    """What a network may be placed on, by its form. Whether this machine has it is known once torch is there."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The device as it was given."""
        if not _DEVICE.fullmatch(str(value)):
            self.fail(f"no device {str(value)!r} (allowed: auto, cpu, cuda, cuda:N such as cuda:1, mps)", param, ctx)
        return str(value)


_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")

SECONDS, DEVICE = Seconds(), Device()

NO_GRAPH = "no GRAPH; name one, or give --from FILE for that of a recipe"

INPUTS_HELP = "`acestep-flows graph show GRAPH` lists the inputs of a graph, which --set gives."

CHECKPOINT_HELP = "Weights in the published layout: a folder, a fetched model of the hub, or 'embedded'."

FOLDER = click.Path(file_okay=False, path_type=Path)
out_option = click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER|FILE",
    default=Path("outputs"),
    show_default=True,
    help="Folder for the files, or the audio file, such as songs/night-bus.mp3.",
)
png_option = click.option("--png", type=PngFile(), help="Write a picture to this file.")
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """One decorator for several options, which appear in the help in this order."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


library_option = click.option(
    "--graphs", "folders", multiple=True, type=FOLDER, help="Folder to look for graphs in; may be repeated."
)
set_option = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    type=ASSIGNMENT,
    help="A graph input; NAME=@FILE takes a file. `graph show` has the forms of lists and spans.",
)
from_option = click.option(
    "--from",
    "recipe",
    type=FILE,
    help="Take inputs that are not set from the recipe in this file: a song, a recipe, or v1's *_input_params.json. "
    "Without a graph its own is taken.",
)
sources_option = click.option(
    "--sources", "sources", multiple=True, type=FOLDER, help="Where else to look for files of the recipe."
)
weights_options = together(
    click.option("--checkpoint", metavar="DIR|ORG/NAME", help=CHECKPOINT_HELP),
    click.option("--lyric-vocab", type=FILE, help="Lyric vocabulary, if it is not in the checkpoint folder."),
)


def session_options(cache: str = "use") -> Callable[[Command], Command]:
    """The options that `open_session` takes; `cache` is the default of --cache."""
    modes = click.Choice(["use", "refresh", "off"])
    return together(
        weights_options,
        click.option("--device", type=DEVICE, default="auto", show_default=True, help="cpu, cuda, cuda:N, mps."),
        click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", show_default=True),
        click.option("--compile", is_flag=True, help="torch.compile the denoiser."),
        click.option("--cache", type=modes, default=cache, show_default=True, help="Use results of earlier runs?"),
    )


def open_session(
    *,
    checkpoint: str | None,
    lyric_vocab: Path | None,
    device: str,
    dtype: str,
    compile: bool,
    cache: str,
    deadline: float | None = None,
    quiet: bool = False,
) -> Session:
    """The session that the options describe. Says on stderr which weights it took, where none were named.

    Args:
        quiet: say nothing.
    """
    from acestep_flows.model.placement import choose_placement
    from acestep_flows.session import Session

    weights = choose_weights(read_settings(), checkpoint, lyric_vocab)
    session = Session(weights, choose_placement(device, dtype, compile), cache=cache, deadline=deadline)
    if weights.origin != "argument" and not quiet:
        click.echo(f"weights: {weights}", err=True)
    return session


def read_scope(name: str, folders: Sequence[Path]) -> Scope:
    """A graph by name or path, checked."""
    from acestep_flows.session.planned_run import is_graph_text, read_graph

    return read_graph(Path(name) if is_graph_text(name) else name, folders)  # only Python takes graphs as text


def planned_by_options(
    name: str | None,
    folders: Sequence[Path],
    assignments: Sequence[str],
    recipe: Path | None,
    sources: Sequence[Path],
    *,
    quiet: bool = False,
) -> PlannedRun:
    """The plan of a graph that is named, or of a recipe's own graph; inputs from --set and from the recipe.

    Args:
        quiet: do not say what the recipe gave.
    """
    if recipe is not None:
        return planned_from(recipe, name, folders, assignments, sources, quiet=quiet)
    if name is None:
        raise click.UsageError(NO_GRAPH)
    return planned_run(name, folders, assignments, quiet=quiet)


def planned_run(name: str, folders: Sequence[Path], assignments: Sequence[str], *, quiet: bool = False) -> PlannedRun:
    """The plan of a graph, with its inputs from --set."""
    from acestep_flows.cli.set_inputs import InputForms
    from acestep_flows.input_reader import InputReader
    from acestep_flows.session import plan_run

    scope = read_scope(name, folders)
    reader, forms = InputReader(), InputForms.of(scope.graph.inputs)
    inputs = forms.read(reader, assignments, complete=True, quiet=quiet)
    with forms.echoing(reader):
        return plan_run(scope, inputs, reader.files, reader.mistakes)


def planned_from(
    file: Path,
    name: str | None,
    folders: Sequence[Path],
    assignments: Sequence[str],
    sources: Sequence[Path],
    *,
    quiet: bool = False,
) -> PlannedRun:
    """The plan of a run that begins with the recipe in `file`; --set wins. Says on stderr what the recipe gave."""
    from acestep_flows.cli.set_inputs import InputForms
    from acestep_flows.graph.execution.disk_cache import DiskStore
    from acestep_flows.input_reader import InputReader
    from acestep_flows.recipes.sources import BY_INPUT
    from acestep_flows.session.request import start_from

    graph = None if name is None else read_scope(name, folders)
    store = DiskStore(read_settings().results)
    start = start_from(file, graph, folders, sources=sources, store=store, advice=BY_INPUT)
    reader, forms = InputReader(), InputForms.of(start.scope.graph.inputs)
    inputs, carried = start.inputs(forms.read(reader, assignments, quiet=quiet))
    forms.refuse_missing(inputs)

    def tell() -> None:
        if not quiet:
            click.echo(f"from {file}: {start.scope.graph.name} with {carried.taken}", err=True)

    with forms.echoing(reader):
        start.told.update(reader.mistakes)
        return start.plan(inputs, carried, reader.files, tell)


def print_lines(lines: Iterable[object]) -> None:
    """Write lines to stdout."""
    for line in lines:
        click.echo(line)
