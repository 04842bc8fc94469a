"""How a rule reports a problem."""

from __future__ import annotations

from collections.abc import Callable

from acestep_flows.errors import Problem
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.language.document import SourcePosition
from acestep_flows.graph.language.syntax import NodeSyntax
from acestep_flows.graph.language.wording import clip
from acestep_flows.graph.pauses import pause


def finding(
    scope: Scope,
    rule: str,
    message: str | Callable[[], str],
    place: SourcePosition,
    node: NodeSyntax | None = None,
) -> Problem:
    """A problem at `place` in the scope's file. A message that takes long to make is given as a function."""
    pause()
    if not isinstance(message, str):
        message = "" if scope.is_terse else message()
    return Problem(rule, message, scope.graph.file, place.line, place.column, clip(node.name) if node else "")
