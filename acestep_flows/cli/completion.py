"""Shell completion: names of graphs and stages, and the inputs of a graph. It never fails: it offers less."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from acestep_flows.graph.language.types import Declaration


class GraphName(click.ParamType[str]):
    """The name or path of a graph."""

    name = "graph"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names of graphs, with the first line of each summary; paths are left to the shell."""
        from acestep_flows.errors import FlowsError
        from acestep_flows.graph.library import Library

        if "/" in incomplete or incomplete.startswith("."):
            return [CompletionItem(incomplete, type="file")]
        try:
            return [
                CompletionItem(name, help=graph.summary.partition("\n")[0])
                for name, graph in Library(_folders(ctx)).graphs().items()
                if name.startswith(incomplete)
            ]
        except (FlowsError, OSError):
            return []


class Assignment(click.ParamType[str]):
    """`NAME=VALUE` for an input of the graph that the command names."""

    name = "assignment"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names of inputs that are not given yet; behind `=`, the choices of the input or files."""
        declared = _declared(ctx)
        name, equals, value = incomplete.partition("=")
        if not equals:
            given = {text.partition("=")[0] for text in ctx.params.get("assignments") or ()}
            wanted = [one for one in declared.values() if one.name.startswith(name) and one.name not in given]
            return [CompletionItem(f"{one.name}=", help=one.description) for one in wanted]
        if name not in declared:
            return []
        values = _values(declared[name])
        return [CompletionItem(f"{name}={choice}") for choice in values if choice.startswith(value)]


class StageName(click.ParamType[str]):
    """The name of a stage."""

    name = "stage"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names of stages."""
        from acestep_flows.stages.registry import stages

        return [CompletionItem(name) for name in stages() if name.startswith(incomplete)]


GRAPH, ASSIGNMENT, STAGE = GraphName(), Assignment(), StageName()


def _folders(ctx: click.Context) -> Sequence[Path]:
    return ctx.params.get("folders") or ()


def _declared(ctx: click.Context) -> dict[str, Declaration]:
    """The inputs of the graph that the command line names so far."""
    from acestep_flows.errors import FlowsError
    from acestep_flows.graph.library import Library

    # With --set still open, click has not yet given the arguments their names.
    graph = ctx.params.get("graph") or ctx.params.get("name") or next(iter(ctx.args), None)
    if not isinstance(graph, str):
        return {}
    try:
        return dict(Library(_folders(ctx)).load(graph).inputs)
    except (FlowsError, OSError):
        return {}


def _values(declared: Declaration) -> list[str]:
    """Values that are worth offering."""
    if declared.choices:
        return [str(choice) for choice in declared.choices]
    return {"bool": ["true", "false"], "seed": ["random"]}.get(declared.type.kind, [])
