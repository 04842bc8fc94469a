from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from acestep_flows.sampling.options import SamplerOptions


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"steps": 201},
        {"solver": "ddim"},
        {"guidance": "none"},
        {"guidance_scale": -1},
        {"guidance_scale": float("nan")},
        {"guidance_interval": 1.1},
        {"guidance_decay": -0.1},
        {"guidance_minimum": 201},
        {"guidance_scale_text": 11},
        {"omega": 101},
        {"omega": float("inf")},
        {"oss_steps": ()},
        {"oss_steps": (0, 3)},
        {"oss_steps": (3, 3)},
        {"oss_steps": (5, 2)},
        {"oss_steps": (1, 1001)},
        {"compatibility": "other"},
        {"stpes": 3},
    ],
)
def test_refuses(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        SamplerOptions.model_validate(wrong)


@pytest.mark.parametrize(("scale", "guided"), [(0.0, False), (1.0, False), (0.5, True), (15.0, True)])
def test_guidance_is_off_at_zero_and_one(scale: float, guided: bool) -> None:
    assert SamplerOptions(guidance_scale=scale).guided is guided


def test_double_condition_needs_both_scales_and_guidance() -> None:
    both = {"guidance_scale_text": 5.0, "guidance_scale_lyric": 1.5}
    assert SamplerOptions.model_validate(both).double_condition
    assert not SamplerOptions(guidance_scale_text=5.0).double_condition
    assert not SamplerOptions(guidance_scale_text=5.0, guidance_scale_lyric=1.0).double_condition
    assert not SamplerOptions.model_validate({**both, "guidance_scale": 1.0}).double_condition


def test_every_option_is_described() -> None:
    assert all(field.description for field in SamplerOptions.model_fields.values())


def test_needs_no_torch() -> None:
    code = "import sys, acestep_flows.sampling.options; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
