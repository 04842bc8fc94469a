"""What the interfaces of other servers add to our own: the same requests to `/v1` and to a family, in turns.

    python -m benchmarks.compat [--rounds 60] [--out FILE]

A server with acestep-nano runs in a process of its own. A client submits a short song and asks about it, once by each
interface and always in turns, so that a change of the machine's speed meets both. Each figure is the median in
milliseconds; `added` is the difference to `/v1`, and `ratio` the quotient. What is added should stay below 5 ms.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import httpx2

from benchmarks.machine import report

MOST_ADDED = 5.0
"""Milliseconds that a family may add to a request."""

SECONDS, STEPS = 0.5, 1
WARM_UP = 5


def own(client: httpx2.Client, seed: int) -> dict[str, float]:
    """A song by our own interface: the milliseconds of each request."""
    inputs = {"tags": "lofi", "duration": SECONDS, "steps": STEPS, "seed": seed}
    submit, run = timed(lambda: client.post("/v1/runs", json={"graph": "text2music", "inputs": inputs}))
    ask, _ = timed(lambda: client.get(f"/v1/runs/{run['id']}"))
    return {"submit": submit, "ask": ask}


def acestep15(client: httpx2.Client, seed: int) -> dict[str, float]:
    """A song by 1.5's REST, likewise."""
    root = "/compat/acestep15"
    body = {"prompt": "lofi", "audio_duration": SECONDS, "inference_steps": STEPS, "seed": seed}
    submit, task = timed(lambda: client.post(f"{root}/release_task", json=body))
    ids = [task["data"]["task_id"]]
    ask, _ = timed(lambda: client.post(f"{root}/query_result", json={"task_id_list": ids}))
    return {"submit": submit, "ask": ask}


FAMILIES: Mapping[str, Callable[[httpx2.Client, int], dict[str, float]]] = {"acestep15": acestep15}
"""Families with a submission and a question of their own."""


def timed(request: Callable[[], httpx2.Response]) -> tuple[float, dict[str, Any]]:
    """The milliseconds of a request that must succeed, and its answer."""
    begun = time.perf_counter()
    response = request()
    milliseconds = 1000 * (time.perf_counter() - begun)
    response.raise_for_status()
    return milliseconds, response.json()


def measure(client: httpx2.Client, rounds: int) -> dict[str, Any]:
    """Medians by family and request, beside those of `/v1`."""
    all_of = {"/v1": own, **FAMILIES}
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(rounds + WARM_UP):
        turn = list(all_of) if number % 2 else list(all_of)[::-1]
        for name in turn:
            for request, milliseconds in all_of[name](client, number).items():
                if number >= WARM_UP:
                    times[name, request].append(milliseconds)
        wait_until_idle(client)
    medians = {key: statistics.median(found) for key, found in times.items()}
    return {
        name: {
            request: {
                "own": round(medians["/v1", request], 2),
                "family": round(medians[name, request], 2),
                "added": round(medians[name, request] - medians["/v1", request], 2),
                "ratio": round(medians[name, request] / medians["/v1", request], 2),
            }
            for request in ("submit", "ask")
        }
        for name in FAMILIES
    }


def wait_until_idle(client: httpx2.Client) -> None:
    """Wait until no song is on its way, so that requests do not share the machine with one."""
    while any(client.get("/v1/stats").json()["runs"][state] for state in ("queued", "running")):
        time.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compat", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--out")
    arguments = parser.parse_args()
    speak = [word for name in FAMILIES for word in ("--speak", name)]
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "acestep_flows.cli", "serve", "--home", home, "--port", "0", *speak]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                ready = next(line for line in server.stdout if line.startswith("ready at "))
                with httpx2.Client(base_url=ready.split()[2].rstrip(";"), timeout=60) as client:
                    results = measure(client, arguments.rounds)
            finally:
                server.terminate()
    report({"milliseconds": results}, arguments.out)
    added = max(one["added"] for family in results.values() for one in family.values())
    print(f"at most {added:g} ms are added to a request; {MOST_ADDED:g} ms are allowed")
    return int(added > MOST_ADDED)


if __name__ == "__main__":
    sys.exit(main())
