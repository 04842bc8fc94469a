"""Turns: one at a time, in order, and not for ever."""

from __future__ import annotations

import threading
import time

import pytest

from acestep_flows.api.store.fifo_lock import FifoLock


def test_who_asked_first_comes_first() -> None:
    turns = FifoLock()
    had: list[int] = []
    inside: list[int] = []

    def take(number: int) -> None:
        with turns.hold(30):
            inside.append(number)
            assert len(inside) == 1
            time.sleep(0.002)
            had.append(number)
            inside.remove(number)

    with turns.hold(1):
        threads = [threading.Thread(target=take, args=(number,)) for number in range(20)]
        for number, thread in enumerate(threads):
            thread.start()
            while len(turns._waiting) <= number:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert had == list(range(20))


def test_who_waits_too_long_gives_up_and_stands_in_nobodys_way() -> None:
    turns = FifoLock()

    def again() -> None:
        with turns.hold(0.01):
            raise AssertionError

    with turns.hold(1), pytest.raises(TimeoutError, match="locked"):
        again()
    with turns.hold(1):
        pass
