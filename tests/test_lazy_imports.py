"""Garbage collection is paused only during imports."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from acestep_flows.lazy_imports import garbage_collection_paused


def test_collection_is_paused_inside_and_restored_afterwards() -> None:
    assert gc.isenabled()
    with garbage_collection_paused():
        assert not gc.isenabled()
        with pytest.raises(ImportError), garbage_collection_paused():
            raise ImportError
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_last_of_several_threads_restores_collection() -> None:
    first_has_left, both_are_inside = Barrier(2), Barrier(2)

    def enter(first: bool) -> bool:
        with garbage_collection_paused():
            both_are_inside.wait(10)
            if not first:
                first_has_left.wait(10)
                return gc.isenabled()
        first_has_left.wait(10)
        return gc.isenabled()

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(enter, (True, False))) == [False, False]
    assert gc.isenabled()


def test_disabled_collection_stays_disabled() -> None:
    gc.disable()
    try:
        with garbage_collection_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
