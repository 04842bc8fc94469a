"""A server under requests for hours: it keeps nothing of them. What is counted is objects and descriptors, not time."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.api.door import PATIENCE, SHORT, Door

WARM, REQUESTS, ROUNDS = 60, 60, 4
"""Requests before the first count, and in each round. Caches and threads are there after the first."""

CLIENTS = 40


def run_of(door: Door) -> str:
    """The address of a run that stays in the queue; the queue is full behind it."""
    while door.client.post("/v1/runs", json={"graph": "text2music", "inputs": dict(SHORT)}).status_code == 202:
        pass
    (run, *_) = door.client.get("/v1/runs", params={"state": "queued"}).json()["runs"]
    return str(run["links"]["self"])


def listen_and_leave(door: Door, run: str) -> int:
    """Follow a run, and hang up after the first events."""
    with door.client.stream("GET", f"{run}/events") as response:
        next(response.iter_raw())
        return int(response.status_code)


ASK: dict[str, tuple[int, Callable[[Door, str], int]]] = {
    "show": (200, lambda door, run: door.client.get(run).status_code),
    "wait": (200, lambda door, run: door.client.get(run, params={"wait": 0.01}).status_code),
    "follow": (200, listen_and_leave),
    "list": (200, lambda door, run: door.client.get("/v1/runs", params={"limit": 3}).status_code),
    "submit to a full queue": (
        503,
        lambda door, run: door.client.post("/v1/runs", json={"graph": "text2music", "inputs": dict(SHORT)}).status_code,
    ),
    "plan": (
        200,
        lambda door, run: door.client.post("/v1/graphs/text2music/plan", json={"inputs": dict(SHORT)}).status_code,
    ),
    "a wrong request": (422, lambda door, run: door.client.post("/v1/runs", json={"no": "graph"}).status_code),
    "another unknown run": (404, lambda door, run: door.client.get(f"/v1/runs/run-{os.urandom(13).hex()}").status_code),
    "another unknown path": (404, lambda door, run: door.client.get(f"/{os.urandom(8).hex()}").status_code),
    "metrics": (200, lambda door, run: door.client.get("/metrics").status_code),
}


def objects() -> int:
    gc.collect()
    return len(gc.get_objects())


@pytest.mark.parametrize("kind", ASK)
def test_requests_leave_nothing_behind(waiting: Door, kind: str) -> None:
    run, (status, ask) = run_of(waiting), ASK[kind]
    # One thread after the other, because the server of the tests is in this process too.
    assert {ask(waiting, run) for _ in range(WARM)} == {status}
    assert not all(grows(lambda: ask(waiting, run)) for _ in range(ROUNDS)), "each round leaves an object a request"


def grows(ask: Callable[[], int]) -> bool:
    """Whether requests leave an object each. Caches take some now and then; what keeps requests does in each round."""
    before = objects()
    for _ in range(REQUESTS):
        ask()
    return objects() - before >= REQUESTS


def test_a_client_that_waits_has_one_descriptor_until_it_leaves(waiting: Door) -> None:
    """Its connection. The client of the test has the other end of it in this process, which is another one."""
    run = run_of(waiting)

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    def wait(number: int) -> int:
        with httpx2.Client(base_url=waiting.url, timeout=PATIENCE, trust_env=False) as client:
            return int(client.get(run, params={"wait": 1.0}).status_code)

    wait(0)
    before, most = descriptors(), 0
    for _ in range(2):
        with ThreadPoolExecutor(CLIENTS) as threads:
            waits = [threads.submit(wait, number) for number in range(CLIENTS)]
            while not all(done.done() for done in waits):
                most = max(most, descriptors())
            assert {done.result() for done in waits} == {200}
    assert most <= before + 2 * CLIENTS + ROOM
    assert descriptors() <= before + ROOM


ROOM = 40
"""Descriptors of the database, whose connections come with threads: up to 18, each with the file and its log."""
