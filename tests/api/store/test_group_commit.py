"""Writes of several threads in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from acestep_flows.api.store.group_commit import GroupCommit
from acestep_flows.errors import StorageError


class Slow:
    """Writes groups, the first one only when it is let."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun, self.go_on = threading.Event(), threading.Event()

    def write(self, group: Sequence[int]) -> Sequence[int | BaseException]:
        self.groups.append([*group])
        self.begun.set()
        assert self.go_on.wait(30)
        if 13 in group:
            raise ValueError("13 cannot be written")
        if 99 in group:
            raise StorageError("full")
        return [KeyError(number) if number == 7 else 10 * number for number in group]


def written(numbers: Sequence[int]) -> tuple[Slow, list[int | BaseException]]:
    """Write 0 first, and all `numbers` while that is under way."""
    slow = Slow()
    commit = GroupCommit(slow.write)

    def put(number: int) -> int | BaseException:
        try:
            return commit.put(number)
        except Exception as error:  # the result
            return error

    with ThreadPoolExecutor(len(numbers) + 1) as threads:
        first = threads.submit(put, 0)
        assert slow.begun.wait(30)
        others = [threads.submit(put, number) for number in numbers]
        while len(commit._waiting) < len(numbers):
            pass
        slow.go_on.set()
        assert first.result(30) == 0
        return slow, [other.result(30) for other in others]


def test_what_comes_meanwhile_is_one_group() -> None:
    slow, results = written([1, 2, 3])
    assert results == [10, 20, 30]
    assert [sorted(group) for group in slow.groups] == [[0], [1, 2, 3]]


def test_an_item_may_be_refused_alone() -> None:
    _, results = written([1, 7, 2])
    assert isinstance(results[1], KeyError)
    assert [results[0], results[2]] == [10, 20]


def test_an_item_that_fails_its_group_fails_alone() -> None:
    slow, results = written([1, 13, 2])
    assert isinstance(results[1], ValueError)
    assert [results[0], results[2]] == [10, 20]
    assert [len(group) for group in slow.groups] == [1, 3, 1, 1, 1]


def test_a_store_that_fails_is_asked_once_for_the_group() -> None:
    slow, results = written([1, 99, 2])
    assert [type(result) for result in results] == [StorageError] * 3
    assert len(slow.groups) == 2


def test_a_thread_alone_is_a_group() -> None:
    commit: GroupCommit[str, int] = GroupCommit(lambda group: [len(group)])
    assert commit.put("a") == 1
    with pytest.raises(ZeroDivisionError):
        GroupCommit[int, float](lambda group: [1 / number for number in group]).put(0)
