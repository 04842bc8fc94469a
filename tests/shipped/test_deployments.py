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
from acestep_flows.model.machine import usable_cores
from acestep_flows.runtime.serving.pool import (
    SHIPPED,
    Autoscaling,
    EngineSection,
    LimitsSection,
    Pool,
    Process,
    shipped,
)
from acestep_flows.settings import CACHE
from acestep_flows.stages.registry import stages

FOLDER = shipped()
BUILDER = "acestep_flows.runtime.serving.deployment:build_app"


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def test_every_file_is_known() -> None:
    others = {"serve-config.yaml", "rayservice.yaml", "Containerfile", "README.md"}
    assert {file.name for file in FOLDER.iterdir()} == {f"{name}.yaml" for name in SHIPPED} | others


@pytest.mark.parametrize("name", SHIPPED)
def test_pools_are_valid_and_have_the_name_of_their_file(name: str) -> None:
    pool = Pool.read(name)
    assert pool.name == name
    assert pool.summary


def test_pools_have_the_hardware_of_their_name() -> None:
    local, split, single, eight, per_core = (Pool.read(name) for name in SHIPPED)
    assert (len(per_core.processes), per_core.cpus, per_core.gpus) == (1, usable_cores(), 0)
    assert per_core.processes["all"].torch_threads == 1
    assert (len(local.processes), local.cpus, local.gpus) == (1, 2, 0)
    assert all(len(process.stages) == 1 for process in split.processes.values())
    weighty = [stage for stage in stages().values() if stage.parts]
    assert {pool.process(stage).torch_threads for pool in (local, split) for stage in weighty} == {2}
    assert (split.gpus, single.gpus, eight.gpus) == (0, 1, 8)
    sampler = eight.process(stages()["sample"])
    assert sampler.gpus == 1
    assert {"encode_prompt", "decode_latents"}.isdisjoint(sampler.stages)


def applications(config: Any) -> list[Any]:
    from ray.serve.schema import ServeDeploySchema

    return ServeDeploySchema.model_validate(config).applications


@pytest.mark.parametrize("name", ["serve-config.yaml", "rayservice.yaml"])
def test_serve_configurations_build(name: str, small_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from acestep_flows.runtime.serving.deployment import AppArgs, build_app

    monkeypatch.setenv("ACESTEP_FLOWS_CHECKPOINT", str(small_root))
    config = read(name)
    if name == "rayservice.yaml":
        config = yaml.safe_load(config["spec"]["serveConfigV2"])
    (application,) = applications(config)
    assert application.import_path == BUILDER
    AppArgs.model_validate(application.args)
    build_app(application.args)


def test_the_manifest_has_room_for_its_pool() -> None:
    spec = read("rayservice.yaml")["spec"]
    (application,) = applications(yaml.safe_load(spec["serveConfigV2"]))
    pool = Pool.read(application.args["pool"])
    (group,) = spec["rayClusterConfig"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    requests = container["resources"]["requests"]
    assert int(requests["nvidia.com/gpu"]) * group["replicas"] == pool.gpus
    assert int(requests["cpu"]) * group["replicas"] >= pool.cpus
    (head,) = spec["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"]
    assert head["image"] == container["image"]
    assert all(
        {mount["name"] for mount in container_spec["volumeMounts"]} == {"data", "shared-memory"}
        for container_spec in (head, container)
    )


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
    for path, wrong in ((("rayversion",), "2.60.0"), (("headGroupSpec", "rayStartParams", "num-cpus"), 2)):
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
    copied = [name for line in re.findall(r"^COPY (.+)$", text, re.M) for name in line.split()[:-1]]
    missing = [name for name in copied if not (FOLDER.parent / name).exists()]
    assert "acestep_flows" in copied
    assert missing == []
    command = json.loads(re.findall(r"^CMD (.+)$", text, re.M)[0])
    assert command[:2] == ["acestep-flows", "serve"]
    parameters = cli.commands["serve"].make_context("serve", command[2:]).params
    assert str(parameters["port"]) in re.findall(r"^EXPOSE (.+)$", text, re.M)
    (volume,) = re.findall(r"^VOLUME (.+)$", text, re.M)
    variables = dict(re.findall(r"^ENV (\w+)=(.+)$", text, re.M))
    assert all(Path(path).is_relative_to(volume) for path in (parameters["home"], variables[CACHE]))
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())["project"]
    (python,) = re.findall(r"^FROM python:([\d.]+)-slim$", text, re.M)
    assert SpecifierSet(project["requires-python"]).contains(python)
    (extras,) = re.findall(r'^RUN pip install .*--constraint constraints.txt "\.\[(.+)\]"$', text, re.M)
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    assert re.findall(r"^USER (.+)$", text, re.M)[-1] != "root"


def test_the_page_explains_every_number_and_file() -> None:
    page = (FOLDER / "README.md").read_text()
    names = {name for kind in (Process, EngineSection, LimitsSection, Autoscaling) for name in kind.model_fields}
    names |= {"checkpoint", "lyric_vocab", "extras"}
    assert [name for name in sorted(names) if not re.search(rf"[`{{ ]{name}[`,:}}]", page)] == []
    assert [file.name for file in FOLDER.iterdir() if file.name not in page and file.name != "README.md"] == []
