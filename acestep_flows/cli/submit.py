"""The command `submit`: a run on a server, with inputs from the command line and from a song's recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from acestep_flows.cli.completion import ASSIGNMENT, GRAPH
from acestep_flows.cli.json_output import json_option, print_json
from acestep_flows.cli.options import NO_GRAPH, SECONDS, from_option, sources_option
from acestep_flows.cli.serving import follow, open_client, previews_option, server_option
from acestep_flows.errors import GraphError

if TYPE_CHECKING:
    from acestep_flows.client import Client, Run
    from acestep_flows.graph.language.syntax import Graph

FORMATS = ("flac", "wav", "mp3", "ogg")


class Label(click.ParamType[tuple[str, str]]):
    """`NAME=TEXT`, a label of a run."""

    name = "label"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Name and text."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not name.strip() or not equals:
            self.fail(f"{str(value)[:60]!r} (allowed: NAME=TEXT, such as title='Night bus')", param, ctx)
        return name.strip(), text


@click.command()
@click.argument("graph", type=GRAPH, required=False)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    type=ASSIGNMENT,
    help="A graph input; NAME=@FILE takes a file, NAME=RUN/OUTPUT an output of a run.",
)
@from_option
@sources_option
@click.option(
    "--format", type=click.Choice(FORMATS), default="flac", show_default=True, help="Format of audio outputs."
)
@click.option(
    "--priority",
    type=int,
    default=0,
    show_default=True,
    help="Higher runs first; +1 counts like one minute in the queue.",
)
@click.option(
    "--deadline",
    type=SECONDS,
    metavar="SECONDS",
    help="Stop the run after this many seconds, the time in the queue included.",
)
@click.option("--label", "labels", multiple=True, type=Label(), metavar="NAME=TEXT", help="A label, such as a title.")
@click.option("--cache", type=click.Choice(["use", "refresh", "off"]), default="use", show_default=True)
@click.option("--webhook", metavar="URL", help="Called when the run is over.")
@click.option("--idempotency-key", metavar="KEY", help="A second submission with this key returns the first run.")
@click.option("--preview-every", type=click.IntRange(1, 1000), metavar="STEPS", help="Make previews to listen to.")
@click.option("--watch", "watched", is_flag=True, help="Show its progress until it is over.")
@json_option
@previews_option
@server_option
def submit(
    graph: str | None,
    assignments: tuple[str, ...],
    recipe: Path | None,
    sources: tuple[Path, ...],
    labels: tuple[tuple[str, str], ...],
    webhook: str | None,
    watched: bool,
    as_json: bool,
    previews: Path | None,
    server: str | None,
    **options: Any,
) -> None:
    """Run GRAPH, a name or a YAML file, on a server, and print the run's id."""
    if graph is None and recipe is None:
        raise click.UsageError(NO_GRAPH)
    options |= {"webhook": webhook, "labels": dict(labels) or None}
    with open_client(server) as client:
        run = _submit(client, graph, assignments, recipe, sources, options)
    for warning in run.warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        print_json(run.content)
    else:
        click.echo(run.id)
    if watched:
        follow(run, server, False, previews)


def _submit(
    client: Client,
    name: str | None,
    assignments: Sequence[str],
    recipe: Path | None,
    sources: Sequence[Path],
    options: dict[str, Any],
) -> Run:
    from acestep_flows.cli.remote_inputs import RemoteReader
    from acestep_flows.cli.set_inputs import InputForms

    start = None
    if recipe is not None:
        from acestep_flows.cli.remote_recipe import RecipeInputs

        start = RecipeInputs.read(recipe, sources)
    content, graph = _graph(client, name or (start.graph if start is not None else ""))
    forms, reader = InputForms.of(graph.inputs, values=False), RemoteReader(client)
    inputs = forms.read(reader, assignments, complete=start is None)
    if start is None:
        return client.submit(content, inputs, **options)
    inputs, carried = start.completed(graph, inputs, again=name is None)
    forms.refuse_missing(inputs)
    run = client.submit(content, inputs, **options)
    start.tell(graph, carried)
    return run


def _graph(client: Client, name: str) -> tuple[str | dict[str, Any], Graph]:
    """A graph as the server takes it, and its inputs: by name from there, by path from here."""
    from acestep_flows.cli.remote_inputs import graph_in
    from acestep_flows.graph.library import Library, looks_like_path

    if not looks_like_path(name):
        return name, graph_in(name, client.graph(name)["inputs"])
    graph = Library().load(name)
    if graph.problems:  # it is not even read as a graph, so there is nothing to send
        raise GraphError(graph.problems)
    return dict(graph.content), graph
