"""A job that waits for room in a cluster says what is missing."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from acestep_flows.runtime.bulk.room_watch import lacking, while_room_is_told


def test_a_full_cluster_is_told_once() -> None:
    told, given = list[str](), threading.Event()

    def items() -> Iterator[int]:
        assert given.wait(30)
        yield from (1, 2)

    def tell(line: str) -> None:
        told.append(line)
        given.set()

    watched = while_room_is_told(items(), {"CPU": 6, "GPU": 2}, lambda: ({"CPU": 1}, {"CPU": 8, "GPU": 2}), tell, 0.05)
    assert list(watched) == [1, 2]
    assert told == [
        "the cluster has no room now: the job reserves 6 CPU and 2 GPU, free are 1 of 8 CPU and 0 of 2 GPU; it starts "
        "when others end"
    ]


def test_nothing_is_told_of_a_job_that_starts() -> None:
    told = list[str]()
    watched = while_room_is_told(iter([1]), {"CPU": 6}, lambda: ({}, {}), told.append, 0.2)
    assert list(watched) == [1]
    threading.Event().wait(0.4)
    assert told == []


def test_a_cluster_that_can_never_hold_the_job_is_told_as_that() -> None:
    assert "too small: the job reserves 6 CPU, free are 2 of 4 CPU" in lacking(
        {"CPU": 6, "GPU": 0}, {"CPU": 2}, {"CPU": 4}
    )
    assert lacking({"CPU": 2, "GPU": 0}, {"CPU": 2}, {"CPU": 4}) == ""
