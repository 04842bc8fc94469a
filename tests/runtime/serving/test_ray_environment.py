"""A Ray of our own, started from environments that are not meant for it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from acestep_flows.errors import FlowsError
from acestep_flows.runtime.serving import ray_environment
from acestep_flows.runtime.serving.ray_environment import check_descriptors, set_environment

pytest.importorskip("ray")

SMALL_UPLOAD = 512 * 2**20
"""Ray refuses to upload larger working folders."""

OWN_RAY = """
import json, os, sys
import psutil
from acestep_flows.runtime.serving.local_ray import own_ray

if __name__ == "__main__":
    with own_ray(1):
        import ray

        @ray.remote(num_cpus=0.1)
        class Actor:
            def facts(self):
                return {"prefix": sys.prefix, "folder": os.getcwd(), "jobs": ray.get_runtime_context().get_job_id()}

        facts = ray.get(Actor.remote().facts.remote(), timeout=200)
        mine = psutil.Process()
        addresses = [
            one.laddr.ip
            for process in (mine, *mine.children(recursive=True))
            for one in process.net_connections("inet")
            if one.status == psutil.CONN_LISTEN
        ]
    print(json.dumps(facts | {"addresses": addresses}))
"""

UV = """
import subprocess, sys
sys.exit(subprocess.run([sys.argv[1], "own_ray.py"]).returncode)
"""


def hostile(folder: Path) -> dict[str, str]:
    """An environment with everything at once that has kept a Ray from starting, or led it astray."""
    temporary = folder / ("t" * 100)
    temporary.mkdir()
    job = {"runtime_env": {"working_dir": "gcs://_ray_pkg_0123456789abcdef.zip"}, "metadata": {"job_name": "theirs"}}
    nobody = "http://127.0.0.1:9"
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "grpc_proxy"), nobody)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        **proxies,
        "ALL_PROXY": "socks5://127.0.0.1:9",
        "NO_PROXY": "example.org",
        "HOME": "/proc/nowhere",
        "TMPDIR": str(temporary),
        "RAY_ADDRESS": "127.0.0.1:9",
        "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps(job),
        "RAY_JOB_ID": "01000000",
        "RAY_RAYLET_PID": "1",
    }


@pytest.mark.slow
def test_it_starts_from_a_hostile_environment(tmp_path: Path) -> None:
    """Under `uv run` by a relative path, in a large folder, in another Ray's job, behind proxies, without a home."""
    (tmp_path / "own_ray.py").write_text(OWN_RAY)
    (tmp_path / "run").write_text(UV)  # so that the command line is `uv run PYTHON own_ray.py`
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'large'\nversion = '1'\n")
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(SMALL_UPLOAD + 2**20)

    def few_descriptors() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 512))

    done = subprocess.run(
        ["uv", "run", sys.executable],
        executable=sys.executable,
        cwd=tmp_path,
        env=hostile(tmp_path) | {"PYTHONPATH": str(Path(__file__).parents[3])},
        preexec_fn=few_descriptors,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["prefix"] == sys.prefix
    assert facts["folder"] == str(tmp_path)
    assert {address.removeprefix("::ffff:") for address in facts["addresses"]} == {"127.0.0.1"}


def test_too_few_descriptors_are_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64, 128))
    with pytest.raises(FlowsError, match=r"128 open files here, and Ray needs \d+; raise the hard limit") as refused:
        check_descriptors()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "127.0.0.1,localhost,::1"),
        ("example.org", "example.org,127.0.0.1,localhost,::1"),
        ("localhost, 127.0.0.1,::1", "localhost, 127.0.0.1,::1"),
        ("*", "*"),
    ],
)
def test_no_proxy_is_used_for_this_machine(before: str, after: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, before)
    set_environment()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == after


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_worker_niceness", "7")
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "1")
    set_environment()
    assert os.getenv("RAY_worker_niceness") == "7"  # noqa: SIM112 its name
    assert os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] == "1"


def test_a_process_inside_a_ray_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    with pytest.raises(FlowsError, match="connected to a Ray already"), ray_environment.apart():
        pass


def test_an_address_that_is_not_followed_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with ray_environment.apart():
        assert "RAY_ADDRESS" not in caplog.text
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with ray_environment.apart():
        assert "RAY_ADDRESS=10.0.0.1:6379 is not followed" in caplog.text


def test_the_environment_is_as_before_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    set_environment()
    before = dict(os.environ)
    with ray_environment.apart():
        assert "RAY_ADDRESS" not in os.environ
        assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert dict(os.environ) == before
