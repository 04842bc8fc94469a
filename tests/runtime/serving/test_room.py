"""Whether this machine has room for a pool, and pools that are tried without their GPUs."""

from __future__ import annotations

from typing import Any

import pytest

from acestep_flows.errors import InputError
from acestep_flows.model.machine import Machine
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.runtime.serving.room import check_room, offered_gpus, rehearsed
from acestep_flows.stages.registry import stages
from tests.runtime.serving.pools import content


def pool(**process: Any) -> Pool:
    return Pool.checked(content(processes={"all": {"stages": list(stages()), **process}}))


def shares(share: float, count: int) -> Pool:
    rest = [stage for stage in stages() if stage != "sample"]
    sampler = {"stages": ["sample"], "gpus": share, "device": "cuda", "replicas": count}
    return Pool.checked(content(processes={"sampler": sampler, "rest": {"stages": rest}}))


@pytest.mark.parametrize(("gpus", "missing"), [(0, "6 of 6 samplers"), (7, "1 of 2 coders")])
def test_a_pool_without_room_is_refused_with_what_is_missing(gpus: int, missing: str) -> None:
    with pytest.raises(InputError) as refused:
        check_room(Pool.read("gpu-pool"), gpus)
    said = str(refused.value)
    assert said.startswith(f"--pool: pool gpu-pool: no place for {missing} (4 CPU and 1 GPU each)")
    assert f"this machine: 40 CPU and {gpus} GPU" in said
    assert "--rehearse" in said
    assert "\n" not in said
    assert check_room(Pool.read("gpu-pool"), 8) == []


def test_cores_are_only_counted() -> None:
    assert check_room(pool(cpus=900), 0) == []


def test_a_pin_to_machines_of_a_cluster_is_no_place_here() -> None:
    for pin in ({"resources": {"services": 1}}, {"labels": {"zone": "a"}}):
        with pytest.raises(InputError, match=f"no place for 1 of 1 all .*{next(iter(*pin.values()))}.*--ray ADDRESS"):
            check_room(pool(**pin), 0)


def test_only_processes_that_are_used_need_room() -> None:
    assert check_room(Pool.read("gpu-pool"), 0, {"audio": 8}) == []
    assert check_room(Pool.read("gpu-pool"), 3, {"audio": 8, "coders": 3}) == []
    with pytest.raises(InputError, match="no place for 1 of 4 coders"):
        check_room(Pool.read("gpu-pool"), 3, {"audio": 8, "coders": 4})


def test_shares_that_may_be_unlucky_are_told() -> None:
    rest = [stage for stage in stages() if stage not in ("sample", "vocode")]
    on_gpu = {"device": "cuda", "replicas": 2}
    processes = {
        "encoders": {"stages": ["sample"], "gpus": 0.4, **on_gpu},
        "decoders": {"stages": ["vocode"], "gpus": 0.6, **on_gpu},
        "rest": {"stages": rest},
    }
    (warning,) = check_room(Pool.checked(content(processes=processes)), 2)
    assert "may not come up: where others are placed first, decoders (1 CPU and 0.6 GPU each) finds no room" in warning


def test_all_gpus_of_the_machine_are_given_away_if_any_is_asked_for() -> None:
    machine = Machine(8, 10**9, gpus=(10**9,) * 4)
    assert (offered_gpus(shares(0.6, 3), machine), offered_gpus(pool(), machine)) == (4, 0)
    assert check_room(shares(0.6, 3), 4) == []  # three GPUs are needed, though they are 1.8 in all


def test_a_rehearsal_keeps_what_is_placed_and_computes_on_the_processor() -> None:
    rehearsal, gpus = rehearsed(Pool.read("gpu-scaling"))
    assert gpus == 8
    networks = rehearsal.processes["networks"]
    assert (networks.gpus, networks.cpus, networks.least, networks.most) == (1, 4, 0, 8)
    assert (networks.device, networks.dtype, networks.torch_threads, networks.shared) == ("cpu", "float32", 1, 1)
    assert not any(process.pins for process in rehearsal.processes.values())
    assert check_room(rehearsal, gpus) == []
    cpu = pool()
    assert networks.placement.numerics == cpu.processes["all"].placement.numerics, "results are those of a processor"


def test_a_rehearsal_shows_what_does_not_fit() -> None:
    rehearsal, gpus = rehearsed(shares(0.6, 3))
    assert gpus == 2
    with pytest.raises(InputError, match=r"no place for 1 of 3 sampler \(1 CPU and 0.6 GPU each\)"):
        check_room(rehearsal, gpus)
