"""Bodies as programs for v1's servers send them."""

from __future__ import annotations

from typing import Any

from tests.compat.songs import SECONDS, STEPS


def infer(**changes: Any) -> dict[str, Any]:
    """A body of infer-api with every field that it requires."""
    return {
        "checkpoint_path": "",
        "audio_duration": SECONDS,
        "prompt": "lofi, piano",
        "lyrics": "[verse]\nrain on the window",
        "infer_step": STEPS,
        "guidance_scale": 3.0,
        "scheduler_type": "euler",
        "cfg_type": "cfg",
        "omega_scale": 10,
        "actual_seeds": [7],
        "guidance_interval": 1.0,
        "guidance_interval_decay": 0.0,
        "min_guidance_scale": 3.0,
        "use_erg_tag": False,
        "use_erg_lyric": False,
        "use_erg_diffusion": False,
        "oss_steps": [],
    } | changes


def trainer(**changes: Any) -> dict[str, Any]:
    """A body of trainer-api. Its only other required field is given."""
    return {"prompt": "lofi, piano", "infer_steps": STEPS} | changes
