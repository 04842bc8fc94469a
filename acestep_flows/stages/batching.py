"""The stage boundary: one failing item becomes an error in its place and harms no neighbour."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import ParamSpec, TypeVar

from acestep_flows.errors import FlowsError, StageError
from acestep_flows.stages.contract import Watch

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def run_item(stage: str, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | FlowsError:
    """Call `work`; an error of ours is returned as it is, any other as a `StageError` of `stage`."""
    try:
        return work(*args, **kwargs)
    except FlowsError as error:
        return error
    except Exception as error:  # noqa: BLE001 - the stage boundary: whatever breaks, breaks this song alone
        return StageError("", stage, error)


def run_groups(
    stage: str, work: Callable[[list[T]], list[R]], items: Sequence[T | FlowsError], kind: Callable[[T], Hashable],
    watch: Watch,
) -> list[R | FlowsError]:  # fmt: skip
    """Call `work` for groups of items of one kind, which share forward passes; where that fails, for each alone.

    An item that is an error already stays one. `watch` is told of every pass.
    """
    groups: dict[Hashable, list[int]] = {}
    outs: dict[int, R | FlowsError] = {}
    for index, item in enumerate(items):
        found = item if isinstance(item, FlowsError) else run_item(stage, kind, item)
        if isinstance(found, FlowsError):
            outs[index] = found
        else:
            groups.setdefault(found, []).append(index)

    def alone(index: int) -> R:
        (out,) = work([items[index]])  # type: ignore[list-item]  # errors are in no group
        watch.forward_pass(1)
        return out

    def together(group: list[int]) -> list[R]:
        made = work([items[index] for index in group])  # type: ignore[misc]  # as above
        watch.forward_pass(len(group))
        return made

    for group in groups.values():
        made = run_item(stage, together, group) if len(group) > 1 else None
        if made is None or isinstance(made, FlowsError):
            made_alone = {index: run_item(stage, alone, index) for index in group}
            outs |= made_alone
        else:
            outs |= dict(zip(group, made, strict=True))
    return [outs[index] for index in range(len(items))]


def group_by_length(sizes: Sequence[int], padded: int, slack: float = 1.5) -> list[int]:
    """A number for each size, the same for those that may be padded to one: with at most `slack` times the work.

    Args:
        padded: largest sum of the sizes of a group, padding included; a single item may be larger.
    """
    numbers, number, longest, count = [0] * len(sizes), 0, 0, 0
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        if count and (longest > slack * sizes[index] or longest * (count + 1) > padded):
            number, count = number + 1, 0
        longest = longest if count else sizes[index]
        numbers[index], count = number, count + 1
    return numbers
