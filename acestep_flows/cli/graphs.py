"""The commands that look at graphs and stages without running anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from acestep_flows.cli.completion import GRAPH, STAGE
from acestep_flows.cli.json_output import forecast_content, graphs_content, json_option, print_json, stage_content
from acestep_flows.cli.options import (
    INPUTS_HELP,
    from_option,
    library_option,
    open_session,
    planned_by_options,
    png_option,
    print_lines,
    session_options,
    set_option,
    sources_option,
)
from acestep_flows.cli.terminal import exit_code


@click.command()
@library_option
@json_option
def graphs(folders: tuple[Path, ...], as_json: bool) -> None:
    """List the graphs that can be run by name."""
    from acestep_flows.cli.listing import summaries
    from acestep_flows.graph.library import Library

    loaded = list(Library(folders).graphs().items())
    if as_json:
        print_json(graphs_content(loaded))
    else:
        print_lines(summaries(loaded))


@click.command()
@click.argument("name", required=False, type=STAGE)
@click.option("--markdown", is_flag=True, help="All of them as a page.")
@json_option
def stages(name: str | None, markdown: bool, as_json: bool) -> None:
    """List the stages that graphs are made of, or show the inputs and outputs of stage NAME."""
    from acestep_flows.cli.listing import stage_lines, table
    from acestep_flows.stages import reference
    from acestep_flows.stages.registry import stage_class
    from acestep_flows.stages.registry import stages as registry

    if as_json:
        print_json(stage_content(stage_class(name)) if name else [stage_content(one) for one in registry().values()])
    elif markdown:
        click.echo(reference.markdown(registry()), nl=False)
    elif name is None:
        print_lines(table([(stage.name, reference.summary(stage)) for stage in registry().values()]))
    else:
        print_lines(stage_lines(stage_class(name)))


@click.group()
def graph() -> None:
    """Look at a graph: show, check, plan."""


@graph.command()
@click.argument("name", type=GRAPH)
@library_option
@click.option("--json", "form", flag_value="json", help="The JSON Schema of its inputs.")
@click.option("--dot", "form", flag_value="dot", help="A picture for Graphviz.")
@click.option("--mermaid", "form", flag_value="mermaid", help="A picture for Markdown.")
@png_option
def show(name: str, folders: tuple[Path, ...], form: str | None, png: Path | None) -> None:
    """Show the inputs, nodes and outputs of graph NAME."""
    from acestep_flows.cli.listing import written_lines
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
        print_json(schema.input_schema(syntax))
    elif form is not None:
        click.echo((draw.dot if form == "dot" else draw.mermaid)(syntax), nl=False)
    else:
        click.echo(describe.describe(syntax, stages(), library.nested), nl=False)
        print_lines(written_lines(syntax))


@graph.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", type=GRAPH)
@library_option
@json_option
def check(names: Sequence[str], folders: tuple[Path, ...], as_json: bool) -> None:
    """Check graphs, by name or path, and list every problem."""
    from acestep_flows.errors import GraphError
    from acestep_flows.graph.checking.check import check as problems_of
    from acestep_flows.graph.library import Library
    from acestep_flows.stages.registry import stages

    library = Library(folders)
    problems = [problem for name in names for problem in problems_of(library.load(name), stages(), library.nested)]
    if as_json:
        print_json({"graphs": list(names), "problems": [asdict(problem) for problem in problems]})
        if problems:
            raise click.exceptions.Exit(exit_code(GraphError(problems)))
        return
    if problems:
        raise GraphError(problems)
    click.echo(f"{len(names)} graph{'s' if len(names) > 1 else ''} without problems")


@graph.command(epilog=INPUTS_HELP)
@click.argument("name", type=GRAPH, required=False)
@set_option
@from_option
@sources_option
@library_option
@session_options()
@json_option
def plan(
    name: str | None,
    assignments: tuple[str, ...],
    recipe: Path | None,
    sources: tuple[Path, ...],
    folders: tuple[Path, ...],
    as_json: bool,
    **session_options: Any,
) -> None:
    """Show what a run of graph NAME would compute and how long it would take, without running it."""
    from acestep_flows.cli.listing import forecast_lines

    planned = planned_by_options(name, folders, assignments, recipe, sources)
    with open_session(**session_options) as session:
        forecast = session.plan(planned)
    if as_json:
        print_json(forecast_content(planned.plan.graph, forecast))
    else:
        print_lines(forecast_lines(forecast))
    if any(node.fate == "refused" for node in forecast.nodes):
        raise click.exceptions.Exit(2)
