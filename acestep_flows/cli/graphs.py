"""The commands that look at graphs and stages without running anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from acestep_flows.cli.options import (
    library_option,
    open_session,
    planned_run,
    print_lines,
    session_options,
    set_option,
)


@click.command()
@library_option
def graphs(folders: tuple[Path, ...]) -> None:
    """List the graphs that can be run by name."""
    from acestep_flows.cli.listing import summaries
    from acestep_flows.graph.library import Library

    library = Library(folders)
    print_lines(summaries((name, library.load(path)) for name, path in library.names().items()))


@click.command()
@click.argument("name", required=False)
@click.option("--markdown", is_flag=True, help="All of them as a page.")
def stages(name: str | None, markdown: bool) -> None:
    """List the stages that graphs are made of, or show the inputs and outputs of stage NAME."""
    from acestep_flows.cli.listing import stage_lines, table
    from acestep_flows.stages import reference
    from acestep_flows.stages.registry import stage_class
    from acestep_flows.stages.registry import stages as registry

    if markdown:
        click.echo(reference.markdown(registry()), nl=False)
    elif name is None:
        print_lines(table([(stage.name, reference.summary(stage)) for stage in registry().values()]))
    else:
        print_lines(stage_lines(stage_class(name)))


@click.group()
def graph() -> None:
    """Look at a graph: show, check, plan."""


@graph.command()
@click.argument("name")
@library_option
@click.option("--json", "form", flag_value="json", help="The JSON Schema of its inputs.")
@click.option("--dot", "form", flag_value="dot", help="A picture for Graphviz.")
@click.option("--mermaid", "form", flag_value="mermaid", help="A picture for Markdown.")
@click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="Write a picture to this file.")
def show(name: str, folders: tuple[Path, ...], form: str | None, png: Path | None) -> None:
    """Show the inputs, nodes and outputs of graph NAME."""
    from acestep_flows.graph.library import Library
    from acestep_flows.graph.views import describe, draw, schema
    from acestep_flows.stages.registry import stages

    library = Library(folders)
    syntax = library.load(name)
    if png is not None:
        from acestep_flows.graph.views.draw_png import write_png

        write_png(syntax, png)
        click.echo(png)
    elif form == "json":
        click.echo(json.dumps(schema.input_schema(syntax), indent=2, ensure_ascii=False))
    elif form is not None:
        click.echo((draw.dot if form == "dot" else draw.mermaid)(syntax), nl=False)
    else:
        click.echo(describe.describe(syntax, stages(), library.nested), nl=False)


@graph.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@library_option
def check(names: Sequence[str], folders: tuple[Path, ...]) -> None:
    """Check graphs, by name or path, and list every problem."""
    from acestep_flows.errors import GraphError
    from acestep_flows.graph.checking.check import check as problems_of
    from acestep_flows.graph.library import Library
    from acestep_flows.stages.registry import stages

    library = Library(folders)
    problems = [problem for name in names for problem in problems_of(library.load(name), stages(), library.nested)]
    if problems:
        raise GraphError(problems)
    click.echo(f"{len(names)} graph{'s' if len(names) > 1 else ''} without problems")


@graph.command()
@click.argument("name")
@set_option
@library_option
@session_options()
def plan(name: str, assignments: tuple[str, ...], folders: tuple[Path, ...], **session_options: Any) -> None:
    """Show what a run of graph NAME would compute and how long it would take, without running it."""
    from acestep_flows.cli.listing import forecast_lines

    planned = planned_run(name, folders, assignments)
    with open_session(**session_options) as session:
        forecast = session.plan(planned)
    print_lines(forecast_lines(forecast))
    if any(node.fate == "refused" for node in forecast.nodes):
        raise click.exceptions.Exit(2)
