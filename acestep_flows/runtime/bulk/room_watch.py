"""Tells what a cluster lacks where a job waits for room in it. Ray itself waits for ever, and says nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TypeAlias, TypeVar

T = TypeVar("T")

WAIT_SECONDS = 20.0
"""How long a job may wait for its first row until it is told what is missing."""

Resources: TypeAlias = Mapping[str, float]
"""Amounts by Ray's names: `CPU`, `GPU`."""


def while_room_is_told(
    items: Iterator[T],
    needed: Resources,
    room: Callable[[], tuple[Resources, Resources]],
    tell: Callable[[str], None],
    patience: float = WAIT_SECONDS,
) -> Generator[T, None, None]:
    """The items of a pipeline. If the first one does not come in `patience` seconds, a line says what is missing.

    Args:
        needed: what the job reserves.
        room: what is free in the cluster, and what all of it has.
        tell: called with the line, from another thread.
    """

    def look() -> None:
        line = lacking(needed, *room())
        if line:
            tell(line)

    timer = threading.Timer(patience, look)
    timer.daemon = True
    timer.start()
    try:
        for item in items:
            timer.cancel()
            yield item
    finally:
        timer.cancel()


def lacking(needed: Resources, free: Resources, whole: Resources) -> str:
    """What a cluster lacks for a job, in a line for people; empty if it has room.

    What the job itself has reserved by then counts as taken, so a job that has begun may be told so too.
    """
    missing = [name for name, amount in needed.items() if amount > free.get(name, 0.0)]
    if not missing:
        return ""
    wanted = " and ".join(f"{needed[name]:g} {name}" for name in missing)
    there = " and ".join(f"{free.get(name, 0.0):g} of {whole.get(name, 0.0):g} {name}" for name in missing)
    if any(needed[name] > whole.get(name, 0.0) for name in missing):
        return (
            f"the cluster is too small: the job reserves {wanted}, free are {there}; add nodes or name another --pool"
        )
    return f"the cluster has no room now: the job reserves {wanted}, free are {there}; it starts when others end"
