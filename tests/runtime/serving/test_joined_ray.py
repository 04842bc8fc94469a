"""Joining a cluster, as far as no cluster is needed; tests/served/test_joined_cluster.py has one."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.errors import FlowsError, InputError
from acestep_flows.runtime.serving import joined_ray as module
from acestep_flows.runtime.serving.joined_ray import JoinedRay, app_name, joined_ray, telling_room, waiting_for
from acestep_flows.runtime.serving.packing import NodeRoom
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.runtime.serving.ray_environment import set_environment
from tests.waiting import eventually

pytest.importorskip("ray")


@pytest.mark.parametrize(
    "address", ["", "somewhere", "ray://127.0.0.1:10001", "127.0.0.1:", ":6379", "127.0.0.1:70000"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=r"--ray: .* is no address of a cluster .*HOST:PORT"), joined_ray(address, "x"):
        pass


def test_an_address_where_nothing_listens_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    began = time.monotonic()
    with pytest.raises(FlowsError, match=f"--ray {address}: nothing listens there"), joined_ray(address, "x"):
        pass
    assert time.monotonic() - began < 10


def test_a_home_keeps_the_name_of_its_application(tmp_path: Path) -> None:
    name = app_name(tmp_path)
    assert app_name(tmp_path) == name
    (tmp_path / module.NAME).write_text("theirs")
    assert app_name(tmp_path).startswith("acestep-flows-"), "never the application of somebody else"


def test_a_cluster_that_goes_away_is_a_problem_then_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(module, "GONE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as store:
        joined = JoinedRay(store.getsockname()[:2])
        time.sleep(0.2)
        assert (joined.problem(), joined.fault(), joined.processes()) == ("", "", set())
    eventually(lambda: "does not answer" in joined.problem())
    assert joined.fault() == ""
    eventually(lambda: "has not answered for" in joined.fault())
    joined.leave()


def test_joining_makes_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster has its own, or none, and its users keep it where Ray looks for it."""
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    set_environment(joins=True)
    assert "RAY_AUTH_TOKEN" not in os.environ
    set_environment()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def nodes(whole: float, free: float) -> Any:
    return lambda: ([NodeRoom("near", {"CPU": whole})], [NodeRoom("near", {"CPU": free})])


@pytest.mark.parametrize(
    ("whole", "free", "said"),
    [
        (4, 4, ""),
        (1, 1, "the cluster is too small for pool local: no place for 1 of 1 all (2 CPU); there is near: 1 CPU"),
        (4, 1, "the cluster has no room for pool local now: no place for 1 of 1 all (2 CPU); there is near: 1 CPU"),
    ],
)
def test_what_a_pool_waits_for(whole: float, free: float, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_nodes", nodes(whole, free))
    assert said in waiting_for(Pool.read("local"))
    assert bool(said) == bool(waiting_for(Pool.read("local")))


def test_what_it_waits_for_is_told_again_and_a_cluster_that_cannot_be_asked_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TELL_SECONDS", 0.05)
    answers = iter([nodes(1, 1), None, *[nodes(1, 1)] * 100])

    def ask() -> Any:
        answer = next(answers)
        if answer is None:
            raise ConnectionError
        return answer()

    monkeypatch.setattr(module, "_nodes", ask)
    told: list[str] = []
    with telling_room(Pool.read("local"), told.append):
        eventually(lambda: len(told) >= 3)
    count = len(told)
    time.sleep(0.2)
    assert len(told) - count <= 1
