"""What clients of ACE-Step 1.5 send: bodies as its documents and clients have them, with short songs."""

from __future__ import annotations

from typing import Any

from tests.compat.songs import SECONDS, STEPS


def task(**changes: Any) -> dict[str, Any]:
    """A body with what most clients send."""
    return {
        "prompt": "lofi, piano",
        "lyrics": "[verse]\nrain on the window",
        "audio_duration": SECONDS,
        "inference_steps": STEPS,
        "seed": 7,
        "use_random_seed": False,
    } | changes


def of_page(**changes: Any) -> dict[str, Any]:
    """A body with every field that a form has, most at their defaults, numbers as text."""
    return {
        "task_type": "text2music",
        "prompt": "lofi, piano",
        "lyrics": "",
        "vocal_language": "unknown",
        "audio_duration": str(SECONDS),
        "inference_steps": str(STEPS),
        "guidance_scale": "7.0",
        "bpm": "",
        "key_scale": "",
        "time_signature": "",
        "use_random_seed": "true",
        "seed": "-1",
        "batch_size": "2",
        "audio_format": "mp3",
        "thinking": "false",
        "use_cot_caption": "false",
        "use_cot_language": "false",
        "infer_method": "ode",
        "shift": "3.0",
        "audio_cover_strength": "1.0",
        "repainting_start": "0.0",
        "repainting_end": "-1",
    } | changes
