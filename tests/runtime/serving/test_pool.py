"""Pool files: what they say, and what is said about wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from acestep_flows.errors import InputError
from acestep_flows.runtime.serving import pool as pools
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.stages.registry import stages
from tests.runtime.serving.pools import content, split

Change = Callable[[dict[str, Any]], object]


def with_process(**changes: Any) -> Change:
    return lambda made: made["processes"]["all"].update(changes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda made: made.update(device="cuda"), "device: no setting 'device'; allowed: name, version, summary"),
        (lambda made: made["engine"].update(steps=3), "engine.steps: no setting 'steps'; allowed: tokens, songs"),
        (with_process(gpu=1), "processes.all.gpu: no setting 'gpu', nearest 'gpus'; allowed: stages"),
        (lambda made: made["processes"]["all"]["stages"].remove("vocode"), "no place for vocode"),
        (
            lambda made: made["processes"].update(two={"stages": ["mix", "trim"]}),
            "stage mix has 2 places (all, two), it needs one; stage trim has 2 places",
        ),
        (
            lambda made: made["processes"]["all"]["stages"].append("vocoder"),
            "no stage 'vocoder', did you mean 'vocode'?",
        ),
        (lambda made: made.update(processes={}), "processes: must name at least one"),
        (
            lambda made: made["processes"].update({"a b": {"stages": ["mix"]}}),
            "processes.a b: 'a b' must be lower",
        ),
        (with_process(gpus=1), "device cpu with 1 gpus: cuda and gpus belong together"),
        (with_process(device="cuda"), "device cuda with 0 gpus"),
        (with_process(device="cuda", gpus=1.5), "1.5 gpus: a fraction of one, or whole ones"),
        (with_process(replicas=0), "processes.all.replicas: 0 must be greater than or equal to 1"),
        (with_process(replicas=2, autoscaling={"maximum": 3}), "replicas and autoscaling exclude each other"),
        (with_process(autoscaling={"minimum": 4, "maximum": 3}), "minimum 4 is above maximum 3"),
        (
            with_process(autoscaling={"minimum": -1, "maximum": 3}),
            "autoscaling.minimum: -1 must be greater than or equal to 0",
        ),
        (with_process(resources={"CPU": 1}), "resources: CPU has a setting of its own: cpus"),
        (with_process(resources={"big": 0}), "resources.big: 0 must be greater than 0"),
        (with_process(resources={"big": 1.5}), "resources: 1.5 big: a fraction of one, or whole ones"),
        (with_process(accelerator_type=""), "accelerator_type"),
        (with_process(labels={"zone": 1}), "labels.zone"),
        (with_process(cpus=float("nan")), "processes.all.cpus: nan must be a finite number"),
        (lambda made: made["engine"].update(tokens=0), "engine.tokens"),
        (lambda made: made.update(version=2), "version: 2 must be 1"),
        (lambda made: made.update(name="A B"), "name: 'A B' must be lower-case letters, digits and dashes"),
        (lambda made: made["engine"].update(songs="many"), "engine.songs: 'many' must be a whole number"),
        (lambda made: made.update(limits=3), "limits: 3 must be a map of settings"),
        (lambda made: made.update(limits={"keep": {"day": 3}}), "limits.keep.day: no setting 'day', nearest 'days'"),
        (with_process(autoscaling={"max": 3}), "processes.all.autoscaling.maximum: missing"),
        (with_process(device="tpu"), "processes.all.device: 'tpu' must be 'cpu', 'cuda' or 'mps'"),
    ],
)
def test_what_is_wrong_is_said(change: Change, said: str) -> None:
    made = content()
    change(made)
    with pytest.raises(InputError) as refused:
        Pool.checked(made, "here.yaml")
    assert said in str(refused.value)
    assert str(refused.value).startswith("here.yaml: ")
    assert "\n" not in str(refused.value)
    assert not any(words in str(refused.value) for words in ("Input should", "Extra inputs", "Value error", "Field re"))


def test_name_version_and_summary_may_be_left_out(tmp_path: Path) -> None:
    made = {"processes": content()["processes"]}
    assert (Pool.checked(made).name, Pool.checked(made).version, Pool.checked(made).summary) == ("pool", 1, "")
    for file, name in (("Two Cores.yaml", "two-cores"), ("2.yml", "pool")):
        (tmp_path / file).write_text(yaml.safe_dump(made))
        assert Pool.read(tmp_path / file).name == name


def test_replicas_may_be_one_for_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acestep_flows.model.machine.usable_cores", lambda: 5)
    made = content()
    made["processes"]["all"]["replicas"] = "cores"
    assert Pool.checked(made).processes["all"].most == 5
    assert Pool.read("per-core").cpus == 5
    assert Pool.model_validate_json(Pool.read("per-core").model_dump_json()) == Pool.read("per-core")


def test_everything_wrong_is_said_at_once() -> None:
    made = content(engine={"tokens": 0, "songs": 0})
    with pytest.raises(InputError, match=r"engine\.tokens.*; engine\.songs"):
        Pool.checked(made)


@given(st.permutations(sorted(stages())), st.data())
def test_every_partition_of_the_stages_is_a_pool(order: list[str], data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(1, len(order) - 1), unique=True).map(sorted))
    parts = [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    pool = Pool.checked(content(processes={f"p{i}": {"stages": part} for i, part in enumerate(parts)}))
    assert {pool.home_of[stage] for stage in stages()} == set(pool.processes)
    assert all(name in pool.process(stage).stages for name, stage in stages().items())


def test_a_pool_file_of_0_1_0_runs_the_later_stages_beside_others() -> None:
    old = [stage for stage in stages() if stage not in (*pools.LATER_STAGES, "mix")]
    pool = Pool.checked(content(processes={"mixer": {"stages": ["mix"]}, "rest": {"stages": old}}))
    assert [pool.home_of[stage] for stage in pools.LATER_STAGES] == ["mixer"]


def test_resources_are_those_of_all_replicas() -> None:
    rest = [stage for stage in stages() if stage not in ("sample", "mix")]
    sampler = {"stages": ["sample"], "replicas": 3, "cpus": 2, "gpus": 0.5, "device": "cuda"}
    mixer = {"stages": ["mix"], "cpus": 1, "autoscaling": {"minimum": 1, "maximum": 4}}
    pool = Pool.checked(content(processes={"s": sampler, "m": mixer, "r": {"stages": rest, "cpus": 0.5}}))
    assert pool.cpus == 6 + 4 + 0.5
    assert pool.gpus == 1.5


def test_threads_are_the_cores_where_nobody_says_otherwise() -> None:
    def threads(**more: Any) -> int:
        return (
            Pool.checked(content(processes={"all": {"stages": list(stages()), **more}})).processes["all"].torch_threads
        )

    assert (threads(cpus=4), threads(cpus=0.1), threads(cpus=4, threads=2)) == (4, 1, 2)


def test_passes_are_shared_on_a_gpu_or_where_the_pool_says_so() -> None:
    def shared(**more: Any) -> int:
        return Pool.checked(content(processes={"all": {"stages": list(stages()), **more}})).processes["all"].shared

    assert (shared(), shared(device="cuda", gpus=1)) == (1, 8)
    assert (shared(batch=4), shared(device="cuda", gpus=1, batch=1)) == (4, 1)


def test_files_are_found_by_path_and_by_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(split(tmp_path).model_dump(mode="json", exclude_unset=True)))
    assert Pool.read(file) == Pool.read(str(file)) == split(tmp_path)
    assert Pool.read("local").name == "local"


@pytest.mark.parametrize("name", ["nowhere", "./nowhere.yaml", "serve-config", "../local", "a\0b"])
def test_a_pool_that_is_not_there(name: str) -> None:
    with pytest.raises(InputError, match="no pool .*did you mean 'per-core'"):
        Pool.read("per-coer")
    with pytest.raises(InputError, match="auto, a file, or one of local, split, single-gpu, gpu-pool, per-core"):
        Pool.read(name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a: [", "not readable"),
        (b"\xff\xfe\xfa", "not readable"),
        (b"- 1", "no map"),
        (b"", "no map"),
        (b"#" * 10**6 + b"# ", "no map"),
    ],
)
def test_a_file_that_is_no_pool(tmp_path: Path, text: bytes, said: str) -> None:
    file = tmp_path / "pool.yaml"
    file.write_bytes(text)
    with pytest.raises(InputError, match=said):
        Pool.read(file)


def test_every_field_says_what_it_means() -> None:
    sections = [kind for kind in vars(pools).values() if isinstance(kind, type) and issubclass(kind, BaseModel)]
    fields = [(kind, name, field) for kind in sections for name, field in kind.model_fields.items()]
    assert len(fields) > 20
    assert [(kind, name) for kind, name, field in fields if not field.description] == []


@pytest.mark.parametrize(("said", "cpu", "cuda"), [({}, 215, None), ({"share_below": 0}, 0, 0)])
def test_long_songs_share_no_pass_on_a_processor(said: dict[str, int], cpu: int, cuda: int | None) -> None:
    for device, gpus, want in (("cpu", 0, cpu), ("cuda", 1, cuda)):
        pool = Pool.checked(content(processes={"all": {"stages": list(stages()), "device": device, "gpus": gpus}}))
        pool = pool.model_copy(update={"engine": pool.engine.model_copy(update=said)})
        assert pool.share_below(pool.processes["all"]) == want
