"""Every file in deployments/ is sound, and says what the code does."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from acestep_flows.cli.main import cli
from acestep_flows.errors import InputError
from acestep_flows.model.machine import usable_cores
from acestep_flows.runtime.serving.local_ray import FRONT_CPUS
from acestep_flows.runtime.serving.packing import Demand, NodeRoom, Packing, demands_of
from acestep_flows.runtime.serving.pool import (
    SHIPPED,
    Autoscaling,
    EngineSection,
    LimitsSection,
    Pool,
    Process,
    shipped,
)
from acestep_flows.runtime.serving.pool_process import Machines
from acestep_flows.settings import CACHE
from acestep_flows.stages.registry import stages

FOLDER = shipped()
BUILDER = "acestep_flows.runtime.serving.deployment:build_app"


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def test_every_file_is_known() -> None:
    others = {
        "serve-config.yaml", "rayservice.yaml", "kubernetes.yaml", "Containerfile", "README.md", "alerts.yaml",
        "grafana.json",
    }  # fmt: skip
    assert {file.name for file in FOLDER.iterdir()} == {f"{name}.yaml" for name in SHIPPED} | others


@pytest.mark.parametrize("name", SHIPPED)
def test_pools_are_valid_and_have_the_name_of_their_file(name: str) -> None:
    pool = Pool.read(name)
    assert pool.name == name
    assert pool.summary


def test_pools_have_the_hardware_of_their_name() -> None:
    local, split, single, eight, per_core, scaling = (Pool.read(name) for name in SHIPPED)
    assert (len(per_core.processes), per_core.cpus, per_core.gpus) == (1, usable_cores(), 0)
    assert per_core.processes["all"].torch_threads == 1
    assert (len(local.processes), local.cpus, local.gpus) == (1, 2, 0)
    assert all(len(process.stages) == 1 for process in split.processes.values())
    weighty = [stage for stage in stages().values() if stage.parts]
    assert {pool.process(stage).torch_threads for pool in (local, split) for stage in weighty} == {2}
    assert (split.gpus, single.gpus, eight.gpus, scaling.gpus) == (0, 1, 8, 8)
    assert [process.least for process in scaling.processes.values() if process.gpus] == [0]
    sampler = eight.process(stages()["sample"])
    assert sampler.gpus == 1
    assert {"encode_prompt", "decode_latents"}.isdisjoint(sampler.stages)


def applications(config: Any) -> list[Any]:
    from ray.serve.schema import ServeDeploySchema

    return ServeDeploySchema.model_validate(config).applications


@pytest.mark.parametrize("name", ["serve-config.yaml", "rayservice.yaml"])
def test_serve_configurations_build(name: str, small_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from acestep_flows.runtime.serving.deployment import AppArgs, build_app

    monkeypatch.setenv("ACESTEP_FLOWS_DATABASE", "postgresql+psycopg://user:password@host/runs")
    monkeypatch.setenv("ACESTEP_FLOWS_CHECKPOINT", str(small_root))
    config = read(name)
    if name == "rayservice.yaml":
        config = yaml.safe_load(config["spec"]["serveConfigV2"])
    (application,) = applications(config)
    assert application.import_path == BUILDER
    AppArgs.model_validate(application.args)
    build_app(application.args)


def manifest_pool() -> tuple[Pool, Any]:
    """The pool of the manifest, and the options of its ingress."""
    (application,) = applications(yaml.safe_load(read("rayservice.yaml")["spec"]["serveConfigV2"]))
    return Pool.read(application.args["pool"]), application.args["options"]


def pods() -> dict[str, Any]:
    """The pod templates of the manifest by group; `head` is the head's."""
    cluster = read("rayservice.yaml")["spec"]["rayClusterConfig"]
    return {
        "head": cluster["headGroupSpec"]["template"],
        **{group["groupName"]: group["template"] for group in cluster["workerGroupSpecs"]},
    }


def container(pod: Any) -> Any:
    (only,) = pod["spec"]["containers"]
    return only


def ray_node(group: Any, number: int) -> NodeRoom:
    """What Ray counts in one pod of a group."""
    requests, started = container(group["template"])["resources"]["requests"], group["rayStartParams"]
    own = json.loads(json.loads(started.get("resources", '"{}"')))  # the operator wants JSON as a text in quotes
    free = {"CPU": float(started["num-cpus"]), "GPU": float(requests.get("nvidia.com/gpu", 0)), **own}
    assert free["CPU"] <= float(requests["cpu"]), "Ray gives away no more cores than the pod has"
    return NodeRoom(f"{group['groupName']} {number}", free)


def test_the_manifest_has_room_for_its_pool_in_every_order() -> None:
    """Also for the ingress; with all replicas that there may be on all pods that there may be, and with the fewest."""
    pool, options = manifest_pool()
    groups = read("rayservice.yaml")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    front = Demand("ingress", options["replicas"], {"CPU": FRONT_CPUS, **options["resources"]})
    for count, most in (("maxReplicas", True), ("minReplicas", False)):
        nodes = [ray_node(group, number) for group in groups for number in range(group[count])]
        packing = Packing([*demands_of(pool, most=most), front], nodes)
        assert packing.unlucky() is None, count
        assert packing.is_exact
    head = read("rayservice.yaml")["spec"]["rayClusterConfig"]["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0", "nothing of the pool is placed on the head"


def test_the_groups_of_the_manifest_scale_with_the_pool() -> None:
    pool, options = manifest_pool()
    spec = read("rayservice.yaml")["spec"]["rayClusterConfig"]
    assert spec["enableInTreeAutoscaling"] is True
    groups = {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    networks, audio = pool.processes["networks"], pool.processes["audio"]
    limits = container(groups["gpus"]["template"])["resources"]["limits"]
    assert groups["gpus"]["replicas"] == groups["gpus"]["minReplicas"] == networks.least == 0
    assert groups["gpus"]["maxReplicas"] * int(limits["nvidia.com/gpu"]) == pool.gpus
    assert audio.pins == {"resources": options["resources"]}, "neither keeps a pod with a GPU"
    assert min(audio.least, options["replicas"], groups["services"]["minReplicas"]) >= 2, "one of each may die"


def test_the_manifest_keeps_runs_where_several_hosts_may_write(monkeypatch: pytest.MonkeyPatch) -> None:
    from acestep_flows.runtime.serving.deployment import build_app

    monkeypatch.delenv("ACESTEP_FLOWS_DATABASE", raising=False)
    (application,) = applications(yaml.safe_load(read("rayservice.yaml")["spec"]["serveConfigV2"]))
    with pytest.raises(InputError, match="2 replicas cannot share a SQLite file.*ACESTEP_FLOWS_DATABASE"):
        build_app(application.args)
    text = (FOLDER / "rayservice.yaml").read_text()
    assert "ACESTEP_FLOWS_DATABASE=postgresql" in text
    assert "ACESTEP_FLOWS_ARTIFACTS=" in text
    assert all(
        source["secretRef"]["name"] == "acestep-flows"
        for pod in pods().values()
        for source in container(pod)["envFrom"]
    )
    assert "postgres" in (FOLDER / "Containerfile").read_text()


def test_pods_of_the_manifest_are_closed_watched_and_not_nice() -> None:
    for group, pod in pods().items():
        spec, only = pod["spec"], container(pod)
        assert spec["securityContext"]["runAsNonRoot"] is True, group
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        closed = only["securityContext"]
        assert closed == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        places = {mount["mountPath"] for mount in only["volumeMounts"]}
        assert {"/data", "/tmp", "/home/ray", "/dev/shm"} <= places, "what is written to is mounted"
        assert {"startupProbe", "livenessProbe"} <= only.keys()
        assert {"name": "RAY_worker_niceness", "value": "0"} in only["env"]
        assert (spec.get("automountServiceAccountToken", True), group == "head") in ((False, False), (True, True))
    assert "readinessProbe" in container(pods()["head"])
    assert len({container(pod)["image"] for pod in pods().values()}) == 1
    cluster = read("rayservice.yaml")["spec"]["rayClusterConfig"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert "secretKeyRef" in cluster["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"]
    assert "RAY_worker_niceness=0" in (FOLDER / "serve-config.yaml").read_text()
    assert "ENV RAY_worker_niceness=0" in (FOLDER / "Containerfile").read_text()


def test_pods_may_drain_before_they_are_killed() -> None:
    _, options = manifest_pool()
    workers = [pod for group, pod in pods().items() if group != "head"]
    assert all(pod["spec"]["terminationGracePeriodSeconds"] > options["drain"] for pod in workers)


def test_priorities_and_budgets_are_those_of_the_pods() -> None:
    objects = list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()))
    kinds = {"scheduling.k8s.io/v1": "PriorityClass", "policy/v1": "PodDisruptionBudget"}
    assert all(kinds[each["apiVersion"]] == each["kind"] for each in objects)
    classes = {each["metadata"]["name"]: each["value"] for each in objects if each["kind"] == "PriorityClass"}
    assert {pod["spec"]["priorityClassName"] for pod in pods().values()} == set(classes)
    services, gpus = (classes[pods()[group]["spec"]["priorityClassName"]] for group in ("services", "gpus"))
    assert services > gpus
    budgets = [each["spec"] for each in objects if each["kind"] == "PodDisruptionBudget"]
    chosen = [budget["selector"]["matchLabels"] for budget in budgets]
    assert chosen == [pods()[group]["metadata"]["labels"] for group in ("services", "gpus")]
    assert all(budget["maxUnavailable"] == 1 for budget in budgets)


def test_the_manifest_matches_the_schema_of_the_operator() -> None:
    """Against the documented fields of RayService: it drops the ones that it does not know without a word."""
    import jsonschema

    schema = json.loads((Path(__file__).parent / "rayservice.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    manifest = read("rayservice.yaml")
    jsonschema.validate(manifest, schema)
    cluster = manifest["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert all(mount["name"] in volumes for container in pod["containers"] for mount in container["volumeMounts"])
    # What the schema is good for: it knows what is misspelt, and what is no text.
    mistakes = (
        (("rayversion",), "2.60.0"),
        (("headGroupSpec", "rayStartParams", "num-cpus"), 2),
        (("authOptions", "mode"), "on"),
        (("gcsFaultToleranceOptions", "redisPassword"), {"value": "secret"}),
        (("headGroupSpec", "template", "spec", "securityContext", "runAsNonroot"), True),
        (("headGroupSpec", "template", "spec", "priorityClass"), "high"),
    )
    for path, wrong in mistakes:
        spoilt = copy.deepcopy(manifest)
        place = spoilt["spec"]["rayClusterConfig"]
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = wrong
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(spoilt, schema)


def test_the_manifest_names_the_ray_that_the_image_gets() -> None:
    pinned = re.findall(r"^ray==(.+)$", (FOLDER.parent / "constraints.txt").read_text(), re.M)
    assert [read("rayservice.yaml")["spec"]["rayClusterConfig"]["rayVersion"]] == pinned


def test_the_container_copies_existing_files() -> None:
    text = (FOLDER / "Containerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.M) for name in line.split()[:-1]]
    missing = [name for name in copied if not (FOLDER.parent / name).exists()]
    assert "acestep_flows" in copied
    assert missing == []
    sent = [line for line in (FOLDER.parent / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert (sent[0], [line[1:] for line in sent if line.startswith("!")]) == ("*", copied), "nothing else is sent"
    command = json.loads(re.findall(r"^CMD (.+)$", text, re.M)[0])
    assert command[:2] == ["acestep-flows", "serve"]
    parameters = cli.commands["serve"].make_context("serve", command[2:]).params
    assert str(parameters["port"]) in re.findall(r"^EXPOSE (.+)$", text, re.M)
    (volume,) = re.findall(r"^VOLUME (.+)$", text, re.M)
    variables = dict(re.findall(r"^ENV (\w+)=(.+)$", text, re.M))
    assert all(Path(path).is_relative_to(volume) for path in (parameters["home"], variables[CACHE]))
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())["project"]
    bases = re.findall(r"^FROM python:([\d.]+)-slim(@sha256:[0-9a-f]{64})( AS build)?$", text, re.M)
    assert [stage for *_, stage in bases] == [" AS build", ""]
    assert len({base[:2] for base in bases}) == 1, "what is built for one base is copied to the same"
    assert SpecifierSet(project["requires-python"]).contains(bases[0][0])
    (extras,) = re.findall(r'^RUN .*pip install .*--constraint constraints.txt "\.\[(.+)\]"$', text, re.M)
    assert set(extras.split(",")) == {"serve", "postgres"} <= project["optional-dependencies"].keys()
    (check,) = re.findall(r"^HEALTHCHECK .*CMD (.+)$", text, re.M)
    assert json.loads(check)[-1] == f"http://127.0.0.1:{parameters['port']}/healthz"
    assert re.findall(r"^USER (.+)$", text, re.M)[-1] != "root"


def test_the_page_explains_every_number_and_file() -> None:
    page = (FOLDER / "README.md").read_text()
    kinds = (Process, EngineSection, LimitsSection, Autoscaling, Machines)
    names = {name for kind in kinds for name in kind.model_fields} | {"machines"}
    names |= {"checkpoint", "lyric_vocab", "extras"}
    assert [name for name in sorted(names) if not re.search(rf"[`{{ ]{name}[`,:}}]", page)] == []
    assert [file.name for file in FOLDER.iterdir() if file.name not in page and file.name != "README.md"] == []
