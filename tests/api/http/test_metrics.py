"""Metrics for Prometheus."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from acestep_flows.api.options import ApiOptions
from acestep_flows.api.store.retention import RetentionPolicy, sweep
from acestep_flows.errors import StorageError
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import LONG, SHORT, Door, opened


def samples(door: Door) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels."""
    return numbers_of(door.client)


def numbers_of(client: httpx2.Client) -> dict[tuple[str, ...], float]:
    """Every sample of any server."""
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_servers_of_one_table_count_each_run_once(strict: Checkpoint, tmp_path: Path) -> None:
    ended = "acestep_flows_runs_ended_total"
    with opened(tmp_path, strict) as first, opened(tmp_path, strict, executing=False) as second:
        second.finished()
        cancelled = second.submit(inputs={**SHORT, "seed": 4}, deadline=1e-6)["id"]
        first.until(cancelled)
        for _ in range(2):
            both = [samples(door) for door in (first, second)]
            assert sum(each.get((ended, "text2music", "succeeded"), 0) for each in both) == 1
            assert sum(each.get((ended, "text2music", "failed"), 0) for each in both) == 1
            assert sum(each.get(("acestep_flows_nodes_total", "vocode", "finished"), 0) for each in both) == 1
            assert [each["acestep_flows_runs", "succeeded"] for each in both] == [1, 1]
        assert "The same on every server" in second.client.get("/metrics").text


def test_runs_that_are_forgotten_before_a_scrape_are_counted(strict: Checkpoint, tmp_path: Path) -> None:
    """What one server cancels or deletes, and what a sweep removes, is counted once by the server that ended it."""
    ended = "acestep_flows_runs_ended_total"

    def forget(door: Door, id: str) -> None:
        assert door.client.delete(f"/v1/runs/{id}", params={"forget": "true"}).status_code == 204

    with opened(tmp_path, strict) as first, opened(tmp_path, strict, executing=False) as second:
        done = second.finished()
        forget(second, done["id"])
        stopped = second.submit(inputs=LONG)["id"]
        second.until(stopped, "running")
        second.client.delete(f"/v1/runs/{stopped}")
        second.until(stopped, "cancelled")
        forget(second, stopped)
        late = second.submit(inputs={**SHORT, "seed": 4}, deadline=1e-6)["id"]
        second.until(late, "failed")
        assert sweep(second.home, RetentionPolicy(runs=0), time.time() + 1).runs == 1
        first_counts, second_counts = samples(first), samples(second)
        assert {name[1:]: count for name, count in first_counts.items() if name[0] == ended} == {
            ("text2music", "succeeded"): 1,
            ("text2music", "cancelled"): 1,
            ("text2music", "failed"): 1,
        }
        assert not [name for name in second_counts if name[0] == ended]
        assert first_counts["acestep_flows_errors_total", "deadline_exceeded"] == 1
        assert first_counts["acestep_flows_nodes_total", "vocode", "finished"] == 1
        assert first_counts["acestep_flows_stage_queue_seconds_count", "vocode"] == 1
        assert first_counts["acestep_flows_output_bytes_total", "audio"] == done["outputs"]["audio"]["bytes"]
        assert samples(first)[ended, "text2music", "succeeded"] == 1, "a second scrape counts nothing again"


def test_who_cancels_a_run_that_waits_counts_it(strict: Checkpoint, tmp_path: Path) -> None:
    with (
        opened(tmp_path, strict, executing=False) as first,
        opened(tmp_path, strict, executing=False) as second,
    ):
        for run in [first.submit(inputs={**SHORT, "seed": seed})["id"] for seed in range(3)]:
            for _ in range(2):  # a second request changes nothing
                assert second.client.delete(f"/v1/runs/{run}").json()["state"] == "cancelled"
            assert first.client.delete(f"/v1/runs/{run}", params={"forget": "true"}).status_code == 204
        name = ("acestep_flows_runs_ended_total", "text2music", "cancelled")
        assert [samples(door).get(name, 0) for door in (first, second)] == [0, 3]


def test_a_scrape_that_fails_loses_no_run(strict: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path, strict, executing=False) as door:
        door.client.delete(f"/v1/runs/{door.submit()['id']}")
        read, faults = door.home.database.read, [StorageError("gone")]

        def fail_once() -> Any:
            if faults:
                raise faults.pop()
            return read()

        monkeypatch.setattr(door.home.database, "read", fail_once)
        assert door.client.get("/metrics").status_code == 507
        assert samples(door)["acestep_flows_runs_ended_total", "text2music", "cancelled"] == 1
        assert faults == []


def test_runs_stages_requests_and_processes_are_counted(strict: Checkpoint, tmp_path: Path) -> None:
    engine = {"songs": 3, "occupancy": 0.5, "busy": 0.25, "songs_per_turn": 1.5, "steps_per_second": 7.0}

    async def numbers() -> Mapping[str, Any]:
        edges = {"sample": {"calls": 9, "seconds": 3.0, "bytes_in": 100, "bytes_out": 40}}
        host = {"stages": ["sample"], "under_way": 2, "calls": 9, "peak_memory": 5, "edges": edges, "engine": engine}
        host["passes"] = {"vocode": {"passes": 2, "items": 7}}
        return {"all": [host, host], "idle": []}

    with opened(tmp_path, strict, process_stats=numbers, failures=Counter(sweep=2)) as door:
        samples(door)
        first = door.finished()
        second = door.finished()
        door.until(door.submit("decode", {"latents": first["outputs"]["latents"]["asset"]}, deadline=1e-6)["id"])
        metrics = samples(door)
        again = samples(door)
        assert metrics["acestep_flows_runs_ended_total", "text2music", "succeeded"] == 2
        assert again["acestep_flows_runs_ended_total", "text2music", "succeeded"] == 2, "no run counts twice"
        assert metrics["acestep_flows_runs_ended_total", "decode", "failed"] == 1
        assert metrics["acestep_flows_errors_total", "deadline_exceeded"] == 1
        assert metrics["acestep_flows_runs", "succeeded"] == 2
        assert metrics["acestep_flows_runs", "queued"] == 0
        assert metrics["acestep_flows_nodes_total", "sample", "finished"] == 1
        assert metrics["acestep_flows_nodes_total", "sample", "cached"] == 1
        assert metrics["acestep_flows_stage_seconds_count", "sample"] == 1
        assert metrics["acestep_flows_run_rtf_count", "text2music"] == 2
        assert metrics["acestep_flows_run_queue_seconds_count",] == 2
        sizes = [run["outputs"]["audio"]["bytes"] for run in (first, second)]
        assert metrics["acestep_flows_output_bytes_total", "audio"] == sum(sizes)
        assert metrics["acestep_flows_http_requests_total", "POST", "/v1/runs", "202"] == 3
        assert metrics["acestep_flows_executors",] == 1
        assert metrics["acestep_flows_background_failures", "sweep"] == 2
        assert metrics["acestep_flows_process_replicas", "all"] == 2
        assert [metrics[f"acestep_flows_stage_{name}_total", "vocode"] for name in ("passes", "passed")] == [4, 14]
        assert metrics["acestep_flows_process_under_way", "all"] == 4
        assert metrics["acestep_flows_engine", "songs", "all"] == 6
        assert metrics["acestep_flows_engine", "occupancy", "all"] == 0.5
        assert metrics["acestep_flows_engine", "steps_per_second", "all"] == 14
        assert metrics["acestep_flows_engine", "songs_per_turn", "all"] == 1.5
        assert metrics["acestep_flows_stage_bytes_total", "in", "sample"] == 200
        assert metrics["acestep_flows_stage_bytes_total", "out", "sample"] == 80
        assert metrics["acestep_flows_stage_queue_seconds_count", "sample"] == 1
        assert 0 <= metrics["acestep_flows_stage_queue_seconds_sum", "sample"] < 60


def test_counters_keep_the_work_of_replaced_replicas(strict: Checkpoint, tmp_path: Path) -> None:
    replicas: list[dict[str, Any]] = []

    def replica(name: str, calls: int) -> dict[str, Any]:
        edges = {"mix": {"calls": calls, "seconds": 1.0, "bytes_in": 10 * calls, "bytes_out": calls}}
        return {
            "replica": name,
            "calls": calls,
            "edges": edges,
            "passes": {"vocode": {"passes": calls, "items": calls}},
        }

    async def numbers() -> Mapping[str, Any]:
        return {"all": replicas}

    names = [("process_calls_total", "all"), ("stage_bytes_total", "in", "mix"), ("stage_passes_total", "vocode")]
    with opened(tmp_path, strict, process_stats=numbers, executing=False) as door:

        def counted(*latest: dict[str, Any]) -> list[float]:
            replicas[:] = latest
            metrics = samples(door)
            return [metrics[f"acestep_flows_{name}", *labels] for name, *labels in names]

        assert counted(replica("a", 5), replica("b", 2)) == [7, 70, 7]
        assert counted(replica("b", 3), replica("a", 5)) == [8, 80, 8]
        assert counted() == [8, 80, 8]  # the replicas did not answer
        assert counted(replica("b", 3), replica("c", 4)) == [12, 120, 12]


def test_errors_are_counted_by_their_code(strict: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**options: Any) -> None:
        raise ZeroDivisionError

    with opened(tmp_path, strict, executing=False, options=ApiOptions(queued=0)) as door:
        door.client.get(f"/v1/runs/run-{'0' * 26}")
        door.client.get("/nothing")
        door.client.post("/v1/runs", json={})
        door.client.post("/v1/runs", json={"graph": "text2music", "inputs": dict(SHORT)})
        monkeypatch.setattr(door.home.runs, "list", fail)
        assert httpx2.get(f"{door.url}/v1/runs").status_code == 500
        metrics = samples(door)
    errors = {name[1:]: count for name, count in metrics.items() if name[0] == "acestep_flows_http_errors_total"}
    assert errors == {
        ("not_found", "404"): 2,
        ("invalid_input", "422"): 1,
        ("overloaded", "503"): 1,
        ("internal", "500"): 1,
    }
    assert metrics["acestep_flows_http_requests_total", "GET", "/v1/runs", "500"] == 1


def test_routes_have_names_not_paths(door: Door) -> None:
    for id in ("run-" + "0" * 26, "run-" + "1" * 26):
        door.client.get(f"/v1/runs/{id}")
    door.client.get("/nothing/at/all")
    door.client.get("/nothing/at/all/either")
    routes = {name[2] for name in samples(door) if name[0] == "acestep_flows_http_requests_total"}
    assert "/v1/runs/{id}" in routes
    assert not any("000" in route or "nothing" in route for route in routes)


def test_waiting_nodes_are_counted_by_stage(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict, executing=False) as door:
        door.submit(inputs=SHORT)
        assert samples(door)["acestep_flows_runs", "queued"] == 1
