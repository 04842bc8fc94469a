"""Across processes: a killed run goes on where it stopped, and two runs at once share a folder and the work."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.graph.execution.disk_cache import DiskStore
from tests.graph.small_stages import RAN, Step, node, out, plan_of, run, sources

ROOT = Path(__file__).parents[2]
CHAIN = """
import json, sys
from pathlib import Path
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.graph.execution.result import Options
from tests.graph.small_stages import RAN, node, out, plan_of, run, sources

nodes = {"n0": node("make")}
for i in range(1, 6):
    nodes[f"n{i}"] = node("step", latents=out(f"n{i - 1}"), steps=20, pause=float(sys.argv[2]), tag=str(i))

def tell(event):
    print(json.dumps(event.as_json()), flush=True)

result, _ = run(plan_of(nodes), Options(on_event=tell), store=DiskStore(Path(sys.argv[1])))
print(json.dumps({"ran": RAN, "sources": sources(result)}), flush=True)
"""


@pytest.fixture(autouse=True)
def fresh() -> None:
    RAN.clear()


def chain(folder: Path, pause: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHAIN, str(folder), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def said(process: subprocess.Popen[str]) -> Any:
    """The last line of a process that ends well."""
    lines = process.communicate(timeout=120)[0].splitlines()
    assert process.returncode == 0
    return json.loads(lines[-1])


def kill_after(folder: Path, nodes: int) -> list[str]:
    """Run the chain and kill it amid the node after the first `nodes`; the ones that it said are finished."""
    finished: list[str] = []
    with chain(folder, pause=0.02) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["type"] == "finished":
                finished.append(event["node"])
            if event["type"] == "progress" and len(finished) == nodes:
                process.send_signal(signal.SIGKILL)
                break
        process.wait(timeout=30)
        assert process.returncode == -signal.SIGKILL
    return finished


@pytest.mark.parametrize("nodes", [1, 3])
def test_a_killed_run_goes_on_from_its_finished_nodes(tmp_path: Path, nodes: int) -> None:
    finished = kill_after(tmp_path, nodes)
    assert finished == [f"n{i}" for i in range(nodes)]
    with chain(tmp_path, pause=0.02) as again:
        end = said(again)
    assert [id for id, source in end["sources"].items() if source == "disk"] == finished
    assert end["ran"] == [f"step{i}" for i in range(nodes, 6)]


def test_two_processes_at_once_compute_each_node_once(tmp_path: Path) -> None:
    with chain(tmp_path, pause=0.02) as one, chain(tmp_path, pause=0.02) as two:
        ends = [said(one), said(two)]
    assert sorted(ends[0]["ran"] + ends[1]["ran"]) == ["make", *(f"step{i}" for i in range(1, 6))]
    assert not list(tmp_path.rglob("*.claim"))


def test_a_run_that_waits_for_a_killed_one_takes_over(tmp_path: Path) -> None:
    with chain(tmp_path, pause=0.05) as first:
        assert first.stdout is not None
        for line in first.stdout:
            event = json.loads(line)
            if event["type"] == "progress" and event["node"] == "n1":
                break
        with chain(tmp_path, pause=0.0) as second:
            assert second.stdout is not None
            for line in second.stdout:
                if json.loads(line)["type"] == "cached":  # n0; now it waits for n1, or is about to.
                    break
            first.kill()
            first.wait()
            end = json.loads(second.communicate(timeout=120)[0].splitlines()[-1])
    assert end["sources"]["n0"] == "disk"
    assert end["ran"][0] in ("step1", "step2")


def test_a_cancelled_wait_leaves_the_claim_to_its_holder(tmp_path: Path) -> None:
    """The deadline also ends a wait for another process."""
    from acestep_flows.errors import DeadlineExceeded
    from acestep_flows.graph.execution.result import Options

    store = DiskStore(tmp_path)
    plan = plan_of({"a": node("make"), "b": node("step", latents=out("a"))})
    result, _ = run(plan, store=store)
    made = result.nodes["b"].cache_key
    assert made is not None
    store.path(made.digest).unlink()
    held = store.claim(made.digest)
    assert held is not None
    Step.steps_done = 0
    with pytest.raises(DeadlineExceeded):
        run(plan, Options(deadline=0.2), store=store)
    assert Step.steps_done == 0
    assert store.claim(made.digest) is None
    held.release()
    assert sources(run(plan, store=store)[0]) == {"a": "disk", "b": "computed"}
