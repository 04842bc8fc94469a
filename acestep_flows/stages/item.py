"""The stage boundary: one failing item becomes an error in its place and harms no neighbour."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from acestep_flows.errors import FlowsError, StageError

P = ParamSpec("P")
R = TypeVar("R")


def attempt(stage: str, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | FlowsError:
    """Call `work`; an error of ours is returned as it is, any other as a `StageError` of `stage`."""
    try:
        return work(*args, **kwargs)
    except FlowsError as error:
        return error
    except Exception as error:  # noqa: BLE001 - the stage boundary: whatever breaks, breaks this song alone
        return StageError("", stage, error)
