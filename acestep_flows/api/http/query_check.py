"""Refuses query parameters that a route does not know, so that a typing error is told rather than ignored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant

from acestep_flows.errors import InputError
from acestep_flows.graph.language.wording import clip, nearest

PATHS = "/v1/"
"""Only these paths. Probes of load balancers and scrapers add parameters of their own to the others."""

MOST_FAULTS = 20


async def check_query(request: Request) -> None:
    """A dependency of every route.

    Raises:
        InputError: a parameter does not exist, or one that takes one value is given several times.
    """
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    if not request.scope["query_string"] or not path.startswith(PATHS):
        return
    known = dict(_parameters(request.scope["route"].dependant))
    faults = []
    for name in dict.fromkeys(request.query_params.keys()):
        if name not in known:
            faults.append(_unknown(name, list(known)))
        elif not known[name] and len(request.query_params.getlist(name)) > 1:
            faults.append(InputError("given several times", where=name, allowed="once"))
    if faults:
        raise InputError.of_several(faults[:MOST_FAULTS])


def _unknown(name: str, known: list[str]) -> InputError:
    close = nearest(name, known)
    suggestion = f"; did you mean {close!r}?" if close else ""
    return InputError(f"no such parameter{suggestion}", where=clip(name), allowed=known or "no parameters")


def _parameters(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    """The query parameters of a route with its dependencies, and whether they take several values."""
    for parameter in dependant.query_params:
        yield parameter.alias, _is_list(parameter.field_info.annotation)
    for dependency in dependant.dependencies:
        yield from _parameters(dependency)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(_is_list(part) for part in get_args(annotation))
