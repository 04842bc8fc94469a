"""`serve --ray`: a server on a running cluster of two machines, which outlives it; with real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from acestep_flows.runtime.serving.joined_ray import NAME
from acestep_flows.stages.registry import stages
from benchmarks.fault_services import ObjectStore
from tests.served.ray_cluster import RayCluster, ray_cluster
from tests.served.server import COMMAND, Server, environment
from tests.waiting import eventually

pytestmark = [pytest.mark.slow]

AUDIO = ("mix", "trim", "join", "measure", "compare", "pick", "export", "keep_outside")
APPS = "from ray import serve\nprint(*sorted(serve.status().applications))"
THEIRS = """
from ray import serve
@serve.deployment(ray_actor_options={"num_cpus": 0.1})
class Theirs:
    def __call__(self):
        return "alive"
serve.start(proxy_location="Disabled")
serve.run(Theirs.bind(), name="theirs", route_prefix=None)
print("ready")
"""
METHODS = (b"PUT", b"POST", b"GET", b"HEAD", b"DELETE")
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
CALL = "from ray import serve\nprint(serve.get_app_handle('theirs').remote().result(timeout_s=60))"


@pytest.fixture(scope="module")
def cluster(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    pytest.importorskip("ray")
    env = environment(cache)
    del env["OMP_NUM_THREADS"]
    env["AWS_EC2_METADATA_DISABLED"] = "true"
    with ray_cluster(env, tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def pool(folder: Path, cpus: float = 0.5, **audio: Any) -> None:
    """A pool with the stages without networks on the machine of services."""
    networks = [stage for stage in stages() if stage not in AUDIO]
    content = {
        "processes": {
            "networks": {"stages": networks, "cpus": cpus, "threads": 1},
            "audio": {"stages": list(AUDIO), "cpus": 0.5, "resources": {"services": 1}, **audio},
        }
    }
    (folder / "pool.yaml").write_text(yaml.safe_dump(content))


def test_a_server_joins_a_cluster_and_only_its_own_leaves(cluster: RayCluster, cache: Path, tmp_path: Path) -> None:
    assert cluster.ask(THEIRS) == "ready"
    pool(tmp_path)
    joins = ("--pool", "pool.yaml", "--ray", cluster.address)
    server = Server(tmp_path, cache, options=joins, env=cluster.env)
    server.start()
    try:
        app = (server.home / NAME).read_text().strip()
        assert cluster.ask(APPS) == f"{app} theirs"
        with server.client() as client:
            run = client.wait(server.song(client).id, timeout=120)
            assert run.state == "succeeded"
            serving = client.stats()["serving"]
        places = {name: [cluster.machine_of(replica["pid"]) for replica in serving[name]] for name in serving}
        assert places["audio"] == [1], "pinned to the machine with the resource"
        assert f"joining the Ray cluster at {cluster.address}" in server.log
        assert {os.getpriority(os.PRIO_PROCESS, replicas[0]["pid"]) for replicas in serving.values()} == {0}
    finally:
        status = server.stop()
    assert status == 0
    assert cluster.ask(APPS) == "theirs"
    assert cluster.ask(CALL) == "alive"
    assert all(machine.poll() is None for machine in cluster.machines)

    server.start()  # the same home, killed this time: its application stays, and the next start has it
    server.kill()
    assert cluster.ask(APPS) == f"{app} theirs"
    server.start()
    with server.client() as client:
        assert client.wait(server.song(client, seed=2).id, timeout=120).state == "succeeded"
    assert server.stop() == 0
    assert cluster.ask(APPS) == "theirs"


def test_machines_without_keys_of_the_store_leave_writing_to_the_server(
    cluster: RayCluster, cache: Path, tmp_path: Path, object_store: ObjectStore
) -> None:
    url = object_store.url("joined").replace("s3://", "s3://marked-key:marked-secret-0123@")
    refused = list[int]()

    def meets(pid: int, chunk: bytes) -> bytes:
        if chunk.split(b" ", 1)[0] in METHODS and b"Credential=marked-key/" not in chunk:
            refused.append(pid)
            return FORBIDDEN
        return b""

    object_store.meets = meets
    pool(tmp_path)
    joins = ("--pool", "pool.yaml", "--ray", cluster.address, "--artifacts", url)
    server = Server(tmp_path, cache, options=joins, env=cluster.env)
    server.start()
    try:
        with server.client() as client:
            runs = [server.song(client, seconds=6, seed=seed) for seed in (3, 4)]
            assert [client.wait(run.id, timeout=120).state for run in runs] == ["succeeded"] * 2
    finally:
        server.stop()
    assert refused
    assert server.process is not None
    assert server.process.pid not in refused
    log = server.log + (server.home / "server.log").read_text()
    assert log.count("the server itself writes outputs to the artifact store") == 1
    assert "marked" not in log


def test_what_is_missing_is_told_while_it_waits(cluster: RayCluster, cache: Path, tmp_path: Path) -> None:
    pool(tmp_path, cpus=50, labels={"zone": "a"})
    log = tmp_path / "said"
    with log.open("wb") as out:
        waiting = subprocess.Popen(
            [COMMAND, "serve", "--home", "server", "--port", "0", "--pool", "pool.yaml", "--ray", cluster.address],
            cwd=tmp_path,
            env=dict(cluster.env),
            stdout=subprocess.DEVNULL,
            stderr=out,
        )
    try:
        eventually(lambda: "too small" in log.read_text(), 90)
        (line,) = [line for line in log.read_text().splitlines() if "too small" in line]
        assert line.startswith("warning: the cluster is too small for pool pool: no place for ")
        assert "1 of 1 networks (50 CPU)" in line
        assert "1 of 1 audio (0.5 CPU and 1 services and zone=a)" in line
        assert "it waits until machines are added" in line
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(120) == 143
    finally:
        with contextlib.suppress(ProcessLookupError):
            waiting.kill()
    assert "acestep-flows" not in cluster.ask(APPS)
