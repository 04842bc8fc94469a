"""How a stage treats a batch: item by item, or in groups that share forward passes.

This is the stage boundary: a failing item becomes an error in its place and harms no other.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, ParamSpec, TypeVar

from acestep_flows.errors import FlowsError, StageError
from acestep_flows.stages.contract import IGNORE_PROGRESS, Stage, Watch

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class ItemStage(Stage):
    """Base of the stages whose items share nothing. Subclasses give `run_one`."""

    def run(self, batch: Sequence[Any], params: Sequence[Any], watch: Watch = IGNORE_PROGRESS) -> list[Any]:
        return [run_item(self.name, self.run_one, *pair) for pair in zip(batch, params, strict=True)]

    def run_one(self, item: Any, params: Any) -> Any:
        """The `Out` of one item. What it raises takes the place of the item's output."""
        raise NotImplementedError


def run_item(stage: str, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | FlowsError:
    """What `work` returns. An error of ours is returned as it is, any other as a `StageError` of `stage`."""
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
    """Call `work` for groups of items of one kind, which share forward passes; if it fails, for each item alone.

    Args:
        work: one output per item of the group, in order.
        items: an item that is an error already stays one.
        kind: items of equal kind share a group.
        watch: gets every forward pass.

    Returns:
        One output or error per item, in order.
    """
    groups: dict[Hashable, list[int]] = {}
    outs: dict[int, R | FlowsError] = {}
    for index, item in enumerate(items):
        item_kind = item if isinstance(item, FlowsError) else run_item(stage, kind, item)
        if isinstance(item_kind, FlowsError):
            outs[index] = item_kind
        else:
            groups.setdefault(item_kind, []).append(index)

    def run_together(group: list[int]) -> list[R]:
        group_outs = work([items[index] for index in group])  # type: ignore[misc]  # errors are in no group
        watch.forward_pass(len(group))
        return group_outs

    for group in groups.values():
        group_outs = run_item(stage, run_together, group)
        if isinstance(group_outs, FlowsError) and len(group) > 1:
            for index in group:
                alone = run_item(stage, run_together, [index])
                outs[index] = alone if isinstance(alone, FlowsError) else alone[0]
        elif isinstance(group_outs, FlowsError):
            outs[group[0]] = group_outs
        else:
            outs |= dict(zip(group, group_outs, strict=True))
    return [outs[index] for index in range(len(items))]


def group_by_length(sizes: Sequence[int], padded: int, slack: float = 1.5) -> list[int]:
    """The group of each size. Sizes of one group are padded to its longest, at most to `slack` times their own.

    Args:
        padded: largest sum of the sizes of a group, padding included; a single item may be larger.
    """
    groups, group, longest, count = [0] * len(sizes), 0, 0, 0
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        if count and (longest > slack * sizes[index] or longest * (count + 1) > padded):
            group, count = group + 1, 0
        longest = longest if count else sizes[index]
        groups[index], count = group, count + 1
    return groups
