"""Garbage waits while libraries are imported, and only then."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from acestep_flows.lazy_imports import uncollected


def test_nothing_is_collected_within_and_everything_afterwards() -> None:
    assert gc.isenabled()
    with uncollected():
        assert not gc.isenabled()
        with pytest.raises(ImportError), uncollected():
            raise ImportError
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_last_of_several_threads_puts_it_back() -> None:
    first_is_out, both_in = Barrier(2), Barrier(2)

    def enter(first: bool) -> bool:
        with uncollected():
            both_in.wait(10)
            if not first:
                first_is_out.wait(10)
                return gc.isenabled()
        first_is_out.wait(10)
        return gc.isenabled()

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(enter, (True, False))) == [False, False]
    assert gc.isenabled()


def test_who_had_switched_it_off_finds_it_off() -> None:
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
