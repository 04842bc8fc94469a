"""The guidance formulas on given predictions, and through `Guidance` where a case fixes step numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from acestep_flows.sampling import guidance
from acestep_flows.sampling.guidance import Guidance
from acestep_flows.sampling.options import SamplerOptions
from tests.parity.reference import Case

GOLDEN = "guidance.safetensors"


def test_guidance(case: Case) -> None:
    params = case.params
    if "calls" in params:
        check_momentum(case)
    elif "norm_threshold" in params:
        cond, null = case.inputs["cond"], case.inputs["uncond"]
        got = guidance.apg(cond, cond - null, params["guidance_scale"], params["eta"], params["norm_threshold"])
        case.assert_close("guided", got)
    elif "steps" in params:
        check_cfg_star(case)
    elif "guidance_scale_lyric" in params:
        scales = params["guidance_scale_text"], params["guidance_scale_lyric"]
        cond, text_only, null = (case.inputs[name] for name in ("cond", "only_text_cond", "uncond"))
        case.assert_close("guided", guidance.double_condition(cond, text_only, null, *scales))
    elif set(params) == {"guidance_scale"} and case.name.startswith("cfg"):
        cond, null = case.inputs["cond"], case.inputs["uncond"]
        case.assert_close("guided", guidance.cfg(cond, null, params["guidance_scale"]))
    else:
        case.unknown()


def check_momentum(case: Case) -> None:
    params = case.params
    assert sorted(params["dims"]) == sorted(guidance.CHANNEL)
    running: Tensor | None = None
    for call in range(params["calls"]):
        cond, null = case.inputs[f"cond_{call}"], case.inputs[f"uncond_{call}"]
        running = guidance.running_difference(cond, null, running, params["momentum"])
        got = guidance.apg(cond, running, params["guidance_scale"], params["eta"], params["norm_threshold"])
        case.assert_close(f"running_average_{call}", running)
        case.assert_close(f"guided_{call}", got)


def check_cfg_star(case: Case) -> None:
    params = case.params
    cond, null = case.inputs["cond"], case.inputs["uncond"]
    for step in params["steps"]:
        if params["use_zero_init"]:
            assert params["zero_steps"] == guidance.ZERO_STEPS
            options = SamplerOptions(
                guidance="cfg_star",
                guidance_scale=params["guidance_scale"],
                guidance_interval=1.0,
                compatibility="upstream",
            )
            steps = Guidance(options, max(params["steps"]) + 1)
            answers = [{"conditional": cond, "null": null}[branch] for branch, _ in steps.branches(step)]
            got, _ = steps.combine(step, answers, {})
        else:
            got = guidance.cfg_star(cond, null, params["guidance_scale"])
        case.assert_close(f"guided_step_{step}", got)


def test_predictions_are_not_changed() -> None:
    cond, null = torch.ones(8, 16, 3), torch.zeros(8, 16, 3)
    guidance.apg(cond, cond - null, 15.0)
    assert torch.equal(cond, torch.ones(8, 16, 3))
