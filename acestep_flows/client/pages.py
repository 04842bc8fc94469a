"""Turns the pages of a list, until there are no more or enough entries have come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypedDict, TypeVar

from acestep_flows.client.calls import LARGEST_PAGE

T = TypeVar("T")
After = TypeVar("After", str, int)


class PageQuery(TypedDict, Generic[After]):
    """Which page is next."""

    limit: int
    after: After | None


class PageTurner(Generic[T, After]):
    """Where a list has been read to.

    Args:
        limit: most entries in all; None is every one.
        after: begin behind this entry.

    Attributes:
        over: whether no page is needed any more.
    """

    def __init__(self, limit: int | None, after: After | None) -> None:
        self._left = limit
        self._after: After | None = after
        self.over = limit is not None and limit <= 0

    def query(self) -> PageQuery[After]:
        """The next page."""
        return {"limit": LARGEST_PAGE if self._left is None else min(self._left, LARGEST_PAGE), "after": self._after}

    def turn(self, page: tuple[Sequence[T], After | None]) -> Sequence[T]:
        """The entries of a page that came."""
        entries, self._after = page
        if self._left is not None:
            self._left -= len(entries)
        self.over = self._after is None or (self._left is not None and self._left <= 0)
        return entries
