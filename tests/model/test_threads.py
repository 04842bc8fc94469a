"""Lanes: results in order, torch threads divided among items, errors raised to the caller."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from acestep_flows.model.threads import Lanes, limit_threads, shared_lanes


def thread_of(item: int) -> tuple[int, str, int]:
    return item, threading.current_thread().name, torch.get_num_threads()


def test_items_run_in_parallel_with_the_threads_divided() -> None:
    lanes = Lanes(4)
    try:
        results = lanes.map(thread_of, [5, 6])
        assert [item for item, _, _ in results] == [5, 6]
        assert all(name.startswith("lane") and threads == 2 for _, name, threads in results)
        assert {threads for _, _, threads in lanes.map(thread_of, range(9))} == {1}
    finally:
        lanes.close()


def test_a_single_item_has_all_threads_of_the_caller() -> None:
    before = torch.get_num_threads()
    lanes = Lanes(2)
    try:
        limit_threads(torch, 2)
        assert lanes.map(thread_of, [1]) == [(1, threading.current_thread().name, 2)]
        lanes.map(thread_of, [1, 2])
        assert torch.get_num_threads() == 2
    finally:
        limit_threads(torch, before)
        lanes.close()


def test_an_error_is_raised_to_the_caller() -> None:
    def divide(item: int) -> float:
        return 1 / item

    lanes = Lanes(2)
    with pytest.raises(ZeroDivisionError):
        lanes.map(divide, [1, 0])
    lanes.close()


def test_one_lane_has_no_threads_of_its_own() -> None:
    assert {name for _, name, _ in Lanes(1).map(thread_of, [1, 2])} == {threading.current_thread().name}


def test_callers_with_equal_cores_share_lanes() -> None:
    assert shared_lanes(2) is shared_lanes(2)
    assert shared_lanes(2) is not shared_lanes(3)


def test_threads_to_come_have_what_those_before_had() -> None:
    lanes, before = Lanes(2), torch.get_num_threads()
    try:
        limit_threads(torch, 2)
        lanes.map(thread_of, [1, 2])
        with ThreadPoolExecutor(1) as fresh:
            assert fresh.submit(torch.get_num_threads).result() == 2
    finally:
        limit_threads(torch, before)
        lanes.close()
