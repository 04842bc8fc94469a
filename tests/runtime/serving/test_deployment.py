"""From arguments to an application, without starting anything."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray import serve
from ray.serve import Application

from acestep_flows.errors import CheckpointError, InputError
from acestep_flows.runtime.serving.deployment import build_app
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.stages.registry import stages
from tests.runtime.serving.pools import content, split


def deployments(application: Application) -> dict[str, Any]:
    """Deployments of an application by name, as Serve would start them."""
    from ray.serve._private.build_app import build_app as built

    made = built(application, name="test", default_runtime_env={})
    return {deployment.name: deployment for deployment in made.deployments}


def test_every_process_is_a_deployment_with_a_front(small_root: Path) -> None:
    pool = split(small_root)
    made = deployments(build_app({"pool": pool}))
    assert set(made) == {*pool.processes, "front"}
    assert {made[name].num_replicas for name in pool.processes} == {1}


def test_what_a_process_takes_is_what_its_deployment_reserves(small_root: Path) -> None:
    rest = [stage for stage in stages() if stage not in ("mix", "sample")]
    processes = {
        "sampler": {"stages": ["sample"], "gpus": 0.5, "cpus": 3, "device": "cuda", "replicas": 2},
        "mixer": {"stages": ["mix"], "cpus": 0.5, "autoscaling": {"minimum": 2, "maximum": 5, "target": 3}},
        "rest": {"stages": rest},
    }
    made = deployments(build_app({"pool": content(small_root, processes)}))
    reserved = made["sampler"].ray_actor_options
    assert (reserved["num_cpus"], reserved["num_gpus"], made["sampler"].num_replicas) == (3, 0.5, 2)
    scaling = made["mixer"]._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas, scaling.target_ongoing_requests) == (2, 5, 3)
    assert all(one.max_ongoing_requests >= 1000 for name, one in made.items() if name != "front")


def test_pins_are_those_of_the_deployment(small_root: Path) -> None:
    rest = [stage for stage in stages() if stage != "mix"]
    pinned = {"resources": {"services": 1}, "labels": {"zone": "in(a,b)"}, "accelerator_type": "H100"}
    made = deployments(
        build_app({"pool": content(small_root, {"mixer": {"stages": ["mix"], **pinned}, "rest": {"stages": rest}})})
    )
    options = made["mixer"].ray_actor_options
    assert (options["resources"], options["label_selector"]) == ({"services": 1}, {"zone": "in(a,b)"})
    assert options["accelerator_type"] == "H100"
    assert {"label_selector", "accelerator_type"}.isdisjoint(made["rest"].ray_actor_options)


def test_a_pool_is_given_by_path_by_name_or_whole(small_root: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(content(small_root)))
    for given in (str(file), content(small_root), Pool.read(file)):
        assert set(deployments(build_app({"pool": given}))) == {"all", "front"}


class Entrance:
    def __init__(self, pool: Pool, home: Path | None, hosts: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        self.given = pool, home, hosts, options


def entrance(
    pool: Pool, home: Path | None, hosts: Mapping[str, Application], options: Mapping[str, Any]
) -> Application:
    made: Application = serve.deployment(name="entrance")(Entrance).bind(pool, home, hosts, options)
    return made


def test_an_ingress_is_given_by_import(small_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("some_ingress")
    monkeypatch.setitem(sys.modules, "some_ingress", module)
    monkeypatch.setattr(module, "entrance", entrance, raising=False)
    args = {"home": "/data", "ingress": "some_ingress:entrance", "options": {"colour": "red"}}
    made = deployments(build_app({"pool": split(small_root), **args}))
    assert set(made) == {*split(small_root).processes, "entrance"}
    pool, home, hosts, options = made["entrance"].init_args
    assert (pool, home, options) == (split(small_root), Path("/data"), {"colour": "red"})
    assert set(hosts) == set(pool.processes)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"pools": "local"}, "pools: no such field, nearest 'pool'"),
        ({"pool": "nowhere"}, "no pool 'nowhere'"),
        ({"pool": {"name": "x"}}, "processes: missing"),
        ({"ingress": "os.system"}, "ingress: text 'os.system' .allowed: text of the form"),
        ({"ingress": "no_such_module:front"}, "No module named 'no_such_module'"),
        ({"ingress": "json:no_such_function"}, "no_such_function"),
        ({"options": {"origins": []}}, "no ingress"),
    ],
)
def test_arguments_that_are_not_usable(small_root: Path, args: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        build_app({"pool": content(small_root), **args})


def test_weights_are_looked_at_before_any_process_is_started(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no folder"):
        build_app({"pool": content(tmp_path / "nowhere")})
