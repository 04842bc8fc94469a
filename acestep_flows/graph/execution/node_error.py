"""Errors of stages, with the node they happened in."""

from __future__ import annotations

import copy

from acestep_flows.errors import FlowsError, InputError, StageError
from acestep_flows.graph.planning.plan import PlanNode


def at_node(error: BaseException, node: PlanNode) -> FlowsError:
    """The error with its node named. It is a copy: nodes of other runs may have met the same error."""
    if isinstance(error, InputError):
        if error.where.startswith("node "):
            return error
        located, where = copy.copy(error), f"node {node.id}, {error.where}".rstrip(", ")
        field = error.field.removeprefix(f"{node.stage}.")
        InputError.__init__(located, error.what, where=where, allowed=error.allowed, field=field)
        return located
    if isinstance(error, FlowsError) and not isinstance(error, StageError):
        return error
    cause = error.cause if isinstance(error, StageError) else error
    stage_error = StageError(node.id, node.stage, cause)
    stage_error.__cause__ = cause
    return stage_error
