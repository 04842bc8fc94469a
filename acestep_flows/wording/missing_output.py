"""What is said of an output that a run does not have, in the same words at every door."""

from __future__ import annotations

from collections.abc import Iterable

from acestep_flows.errors import NotFound
from acestep_flows.wording.phrases import clip, listing, nearest

_STATES = {"failed": "it failed", "cancelled": "it was cancelled"}
"""States of runs in a sentence, where `it is STATE` is none."""


def no_output(
    run: str, name: str, outputs: Iterable[str], state: str, reason: str = "", *, where: str = "", field: str = "name"
) -> NotFound:
    """The error for an output that a run does not have: the nearest, those that it has, and its state if it has none.

    Args:
        run: its id.
        outputs: the names of those that it has.
        reason: why the run has failed.
        where: what named the output, if the message is to say it.
        field: what named it; `where` is enough if both are the same.
    """
    names = list(outputs)
    close = nearest(name, names)
    near = f", nearest {close!r}" if close else ""
    why = f": {reason}" if reason and state == "failed" else ""
    there = listing(names) if names else f"none, {_STATES.get(state, f'it is {state}')}{why}"
    what = f"run {run} has no output {clip(name)!r}{near}; there are: {there}"
    return NotFound(what, where=where, allowed=names or "none", field=where or field)
