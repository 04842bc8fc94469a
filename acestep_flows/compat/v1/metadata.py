"""The parameters that v1 writes beside a song (`*_input_params.json`), for songs that were made here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_flows import storage
from acestep_flows.compat.v1.call import PARAMETERS, PipelineCall
from acestep_flows.recipes.upstream import SAMPLER, SUFFIX

if TYPE_CHECKING:
    from acestep_flows.session import RunResult

_PHASES = {
    "encode_prompt": "preprocess",
    "encode_lyrics": "preprocess",
    "encode_audio": "preprocess",
    "init_noise": "preprocess",
    "sample": "diffusion",
    "repaint": "diffusion",
    "edit": "diffusion",
}
"""What v1 counts the time of a stage as; the others make audio of latents."""

_NOT_WRITTEN = ("manual_seeds", "save_path", "batch_size", "debug")


def parameters(call: PipelineCall, results: Sequence[RunResult], sampling: Mapping[str, Any]) -> dict[str, Any]:
    """What the songs of a call were made with, without the path of one.

    Args:
        results: of its runs.
        sampling: the model's own values, by our names.
    """
    inputs, first = results[0].inputs, results[0]
    given = {name: call.value(name) for name in PARAMETERS if name not in _NOT_WRITTEN}
    used = {
        theirs: inputs[ours] if inputs.get(ours) is not None else sampling.get(ours, given[theirs])
        for theirs, ours in SAMPLER.items()
    }
    edited = call.task == "edit"
    retake = "seed" if edited else "retake_seed"  # v1 draws the noise of an edit from the retake seeds
    return {
        **given,
        **used,
        "task": call.task,
        "prompt": inputs["new_tags"] if edited else inputs["tags"],
        "lyrics": inputs["new_lyrics"] if edited else inputs.get("lyrics", ""),
        "audio_duration": inputs.get("duration", first.audio.seconds),
        "oss_steps": list(inputs.get("oss_steps") or ()),
        "timecosts": _times(results),
        "actual_seeds": [result.inputs["seed"] for result in results],
        "retake_seeds": [result.inputs[retake] for result in results if retake in result.inputs],
        "sample_rate": first.audio.sample_rate,
        "warnings": list(dict.fromkeys([*call.draft.song().warnings, *(w for one in results for w in one.warnings)])),
    }


def write(params: Mapping[str, Any], song: Path) -> dict[str, Any]:
    """Write the parameters of one song beside it, and return them."""
    own = {**params, "format": song.suffix.removeprefix("."), "audio_path": str(song)}
    text = json.dumps(own, ensure_ascii=False, indent=4)
    storage.write(song.with_name(f"{song.stem}{SUFFIX}"), text.encode("utf-8", "backslashreplace"))
    return own


def _times(results: Sequence[RunResult]) -> dict[str, float]:
    times = {"preprocess": 0.0, "diffusion": 0.0, "latent2audio": 0.0}
    for node in (node for result in results for node in result.recipe.nodes):
        times[_PHASES.get(node.stage, "latent2audio")] += node.seconds
    return {name: round(seconds, 4) for name, seconds in times.items()}
