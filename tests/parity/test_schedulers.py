"""Schedules, for equality, and solvers on given answers of the network."""

from __future__ import annotations

import torch
from torch import Tensor

from acestep_flows.sampling.noise import RecordedDraws
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.schedule import (
    Schedule,
    even_schedule,
    picked_schedule,
    reduced_steps,
    training_sigmas,
)
from acestep_flows.sampling.solver import granularity, make_solver
from tests.parity.reference import Case

GOLDEN = "schedulers.safetensors"


def test_schedulers(case: Case) -> None:
    params = case.params
    solver = case.name.split("_")[0]
    if solver not in ("euler", "heun", "pingpong"):
        case.unknown()
    if "num_train_timesteps" in params:
        check_table(case)
    elif "oss_steps" in params:
        check_schedule(case, picked_schedule(params["oss_steps"], "upstream"))
        whole = even_schedule(max(params["oss_steps"]))
        picked = torch.tensor([whole.timesteps[index - 1] for index in params["oss_steps"]])
        case.assert_equal("selected_before_second_shift", picked)
    elif "omega" in params:
        check_steps(case, solver)
    elif "sigma_max_argument" in params:
        check_reduced(case, solver)
    elif "num_inference_steps" in params:
        check_schedule(case, laid_out(even_schedule(params["num_inference_steps"]), solver))
    else:
        case.unknown()


def laid_out(schedule: Schedule, solver: str) -> Schedule:
    return schedule.doubled() if solver == "heun" else schedule


def check_schedule(case: Case, schedule: Schedule) -> None:
    case.assert_equal("timesteps", torch.tensor(schedule.timesteps))
    case.assert_equal("sigmas", torch.tensor(schedule.sigmas))


def check_table(case: Case) -> None:
    sigmas = torch.from_numpy(training_sigmas(case.params["sigma_max"]))
    case.assert_equal("sigmas", sigmas)
    case.assert_equal("timesteps", sigmas * case.params["num_train_timesteps"])
    case.assert_equal("sigma_max", sigmas[0].to(case.outputs["sigma_max"].dtype))
    case.assert_equal("sigma_min", sigmas[-1].to(case.outputs["sigma_min"].dtype))


def check_reduced(case: Case, solver: str) -> None:
    cap = case.params["sigma_max_argument"]
    steps = reduced_steps(case.params["requested_steps"], cap)
    assert steps == case.params["num_inference_steps"]
    check_schedule(case, laid_out(even_schedule(steps, cap), solver))
    sigmas = torch.from_numpy(training_sigmas(cap))
    case.assert_equal("noise_weight", sigmas[0].to(case.outputs["noise_weight"].dtype))
    case.assert_equal("scheduler_sigma_max", sigmas[0].to(case.outputs["scheduler_sigma_max"].dtype))
    case.assert_equal("scheduler_sigma_min", sigmas[-1].to(case.outputs["scheduler_sigma_min"].dtype))


def check_steps(case: Case, name: str) -> None:
    steps, omega = case.params["num_inference_steps"], case.params["omega"]
    options = SamplerOptions.model_validate({"solver": name, "omega": omega, "compatibility": "upstream"})
    noises = case.inputs["step_noise"] if "step_noise" in case.inputs else torch.empty(0)
    solver = make_solver(options, even_schedule(steps), RecordedDraws(noises))
    answers = case.inputs["model_outputs"]
    assert solver.evaluations == len(answers)
    latents, memory = case.inputs["sample"], solver.start()
    samples: list[Tensor] = []
    for k, velocity in enumerate(answers):
        latents, memory = solver.step(k, latents, velocity, memory)
        samples.append(latents)
    case.assert_close("samples", torch.stack(samples))
    case.assert_close("omega_rescaled", torch.tensor(granularity(omega)).to(case.outputs["omega_rescaled"].dtype))


def test_recorded_step_noise_follows_from_its_seed(case: Case) -> None:
    """The pingpong golden's noise is what a CPU generator gives, drawn for the whole batch at once."""
    for name in case.outputs:
        case.leave_out(name, "compared in test_schedulers")
    if case.params.get("generator_seed") is None:
        return
    noises = case.inputs["step_noise"]
    generator = torch.Generator().manual_seed(case.params["generator_seed"])
    for noise in noises:
        assert torch.equal(torch.randn(noise.shape, generator=generator), noise)
