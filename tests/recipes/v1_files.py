"""Parameter files as ACE-Step v1 writes them, of every task and of both forms."""

from __future__ import annotations

from typing import Any

OLD: dict[str, Any] = {
    "prompt": "funk, pop, 105 bpm",
    "lyrics": "[verse]\nNeon lights\n",
    "audio_duration": 12.5,
    "infer_step": 27,
    "guidance_scale": 7.5,
    "scheduler_type": "heun",
    "cfg_type": "cfg_star",
    "omega_scale": 5.0,
    "guidance_interval": 0.3,
    "guidance_interval_decay": 0.1,
    "min_guidance_scale": 2.0,
    "use_erg_tag": True,
    "use_erg_lyric": False,
    "use_erg_diffusion": True,
    "oss_steps": [],
    "timecosts": {"preprocess": 0.1, "diffusion": 9.0, "latent2audio": 1.2},
    "actual_seeds": [3299954530],
    "retake_seeds": [2593184862],
    "retake_variance": 0.5,
    "guidance_scale_text": 5.0,
    "guidance_scale_lyric": 1.5,
    "repaint_start": 0,
    "repaint_end": 0,
    "edit_n_min": 0.0,
    "edit_n_max": 1.0,
    "edit_n_avg": 1,
    "src_audio_path": None,
    "edit_target_prompt": None,
    "edit_target_lyrics": None,
    "audio_path": "./outputs/output_20250512101839_0.wav",
}
"""The form of the first example files: neither format, task, LoRA nor a reference."""

NEW: dict[str, Any] = {
    "format": "wav",
    "lora_name_or_path": "none",
    "lora_weight": 1.0,
    "task": "text2music",
    **OLD,
    "audio2audio_enable": False,
    "ref_audio_strength": 0.5,
    "ref_audio_input": None,
}

SAMPLER: dict[str, Any] = {
    "steps": 27,
    "guidance_scale": 7.5,
    "solver": "heun",
    "guidance": "cfg_star",
    "omega": 5.0,
    "guidance_interval": 0.3,
    "guidance_decay": 0.1,
    "guidance_minimum": 2.0,
    "erg_tag": True,
    "erg_lyric": False,
    "erg_diffusion": True,
    "guidance_scale_text": 5.0,
    "guidance_scale_lyric": 1.5,
    "compatibility": "upstream",
}
"""Our names of what those files say about sampling."""

TEXT: dict[str, Any] = {"tags": OLD["prompt"], "lyrics": OLD["lyrics"]}
SEED, RETAKE_SEED = 3299954530, 2593184862

EDITED: dict[str, Any] = {
    "task": "edit",
    "prompt": "big band",
    "lyrics": "[verse]\nOther words",
    "edit_target_prompt": "big band",
    "edit_target_lyrics": "[verse]\nOther words",
    "edit_n_min": 0.2,
    "edit_n_max": 0.4,
    "edit_n_avg": 2,
    "src_audio_path": "./outputs/song.wav",
}
