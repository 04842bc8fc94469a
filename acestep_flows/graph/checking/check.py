"""Checks a graph and reports all its problems at once, each with its position. Needs no weights, torch or Ray."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from acestep_flows.errors import GraphError, Problem
from acestep_flows.graph.checking.nesting import Find, Nesting
from acestep_flows.graph.checking.rules import RULES
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.language.syntax import Graph
from acestep_flows.stages.contract import Stage

MOST_PROBLEMS = 200


def check(graph: Graph, registry: Mapping[str, type[Stage]], find: Find) -> list[Problem]:
    """Every problem of `graph` and of the graphs nested in it, in the order of the files.

    Args:
        graph: from `library.load` or `parse.parse`.
        registry: stages by name.
        find: gives nested graphs, as `library.Library.nested` does.
    """
    return _problems(Scope(graph, registry, Nesting(find)))


def checked(graph: Graph, registry: Mapping[str, type[Stage]], find: Find) -> Scope:
    """The scope of a graph without problems. It can be laid out any number of times.

    Raises:
        GraphError: it has problems.
    """
    scope = Scope(graph, registry, Nesting(find))
    if problems := _problems(scope):
        raise GraphError(problems)
    return scope


def _problems(scope: Scope) -> list[Problem]:
    problems: list[Problem] = []
    uncounted = 0
    for part in scope.below():
        in_part = list(part.graph.problems)
        if part.graph.readable:
            for rule in RULES:
                found, more = _first(rule(part), part)
                in_part += found
                uncounted += more
        problems += sorted(dict.fromkeys(in_part), key=lambda problem: (problem.line, problem.column))
    if more := uncounted + max(0, len(problems) - MOST_PROBLEMS):
        problems = [*problems[:MOST_PROBLEMS], Problem("too-many", f"and {more} more problems", scope.graph.file)]
    return problems


def _first(found: Iterator[Problem], scope: Scope) -> tuple[list[Problem], int]:
    """As many problems of a rule as are told of, and how many more it finds. It finds them in the order of the file."""
    first = list(islice(found, MOST_PROBLEMS))
    scope.is_terse = True
    more = sum(1 for _ in found)
    scope.is_terse = False
    return first, more
