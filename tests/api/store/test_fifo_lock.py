"""The lock: one thread at a time, in order, with a timeout."""

from __future__ import annotations

import threading
import time

import pytest

from acestep_flows.api.store.fifo_lock import FifoLock


def test_threads_get_the_lock_in_order() -> None:
    lock = FifoLock()
    order: list[int] = []
    inside: list[int] = []

    def take(number: int) -> None:
        with lock.hold(30):
            inside.append(number)
            assert len(inside) == 1
            time.sleep(0.002)
            order.append(number)
            inside.remove(number)

    with lock.hold(1):
        threads = [threading.Thread(target=take, args=(number,)) for number in range(20)]
        for number, thread in enumerate(threads):
            thread.start()
            while len(lock._waiting) <= number:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == list(range(20))


def test_a_thread_that_times_out_leaves_the_queue() -> None:
    lock = FifoLock()

    def again() -> None:
        with lock.hold(0.01):
            raise AssertionError

    with lock.hold(1), pytest.raises(TimeoutError, match="locked"):
        again()
    with lock.hold(1):
        pass
