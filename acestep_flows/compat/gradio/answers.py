"""What a call returns: the file, and the parameters of the song as v1 writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from acestep_flows.api.http.dependencies import in_thread
from acestep_flows.api.store.records import NodeRecord, RunRecord
from acestep_flows.compat.exchange import Exchange
from acestep_flows.compat.gradio.functions import CALL
from acestep_flows.compat.takes import Take, seeds_of
from acestep_flows.recipes.upstream import SAMPLER

TASKS = {"batch-takes": "text2music"}
"""v1's task by graph, where it is not its name."""

_DIFFUSION = ("sample", "repaint", "edit")
_BEFORE = ("encode_prompt", "encode_lyrics", "encode_audio", "init_noise")

_EDIT_DEFAULTS: Mapping[str, Any] = {
    "retake_variance": 0.5,
    "repaint_start": 0.0,
    "repaint_end": 0.0,
    "edit_n_min": 0.0,
    "edit_n_max": 1.0,
    "edit_n_avg": 1,
    "src_audio_path": None,
    "edit_target_prompt": None,
    "edit_target_lyrics": None,
    "audio2audio_enable": False,
    "ref_audio_strength": 0.5,
    "ref_audio_input": None,
}
"""v1's parameters of edits, as a song without one has them."""


def file_path(take: Take) -> str:
    """The path of a file as clients give it back."""
    return f"{take.asset.id}/{take.asset.file_name}"


async def result(exchange: Exchange, record: RunRecord) -> list[Any]:
    """What a run that has succeeded returns: the file of its first take, and its parameters.

    Raises:
        NotFound: a file has expired.
    """
    takes = await exchange.takes(record)
    nodes = await in_thread(exchange.service.home.runs.nodes, record.id)
    sampling = (await exchange.model()).sampling
    return [_file(takes[0]), parameters(record, takes, nodes, sampling)]


def _file(take: Take) -> dict[str, Any]:
    return {
        "path": file_path(take),
        "url": take.url,
        "orig_name": take.asset.file_name,
        "size": take.asset.bytes,
        "mime_type": take.asset.content_type,
        "is_stream": False,
        "meta": {"_type": "gradio.FileData"},
    }


def parameters(
    record: RunRecord, takes: Sequence[Take], nodes: Sequence[NodeRecord], sampling: Mapping[str, Any]
) -> dict[str, Any]:
    """What songs were made with, in v1's words. Files are named by their path, as text.

    Args:
        sampling: the model's own values, by our names.
    """
    inputs, asset = record.inputs, takes[0].asset
    seconds = inputs.get("duration") or asset.details.get("seconds", 0.0)
    used = {
        theirs: inputs[ours] if inputs.get(ours) is not None else sampling.get(ours, CALL.parameters.get(theirs))
        for theirs, ours in SAMPLER.items()
    }
    retake = inputs.get("seed" if record.graph == "edit" else "retake_seed")  # v1 draws the noise of edits from these
    latents = record.outputs.get(takes[0].name.replace("audio", "latents", 1))
    return {
        "format": record.format,
        "lora_name_or_path": inputs.get("adapter") or "none",
        "lora_weight": 1.0 if inputs.get("adapter_weight") is None else inputs["adapter_weight"],
        "task": TASKS.get(record.graph, record.graph),
        "prompt": inputs.get("new_tags", inputs.get("tags", "")),
        "lyrics": inputs.get("new_lyrics", inputs.get("lyrics", "")),
        "audio_duration": seconds,
        **used,
        "oss_steps": list(inputs.get("oss_steps") or ()),
        "timecosts": _times(nodes),
        "actual_seeds": seeds_of(record),
        "retake_seeds": [] if retake is None else [retake],
        **_EDIT_DEFAULTS,
        **_of_edit(inputs, record.graph, float(seconds)),
        "audio_path": file_path(takes[0]),
        "audio_paths": [file_path(take) for take in takes],
        "sample_rate": asset.details.get("sample_rate"),
        "run": record.id,
        "asset": asset.id,
        "latents": None if latents is None else latents.asset,
        "warnings": list(record.warnings),
    }


def _of_edit(inputs: Mapping[str, Any], graph: str, seconds: float) -> dict[str, Any]:
    """The parameters that the task of a graph has."""
    if graph == "retake":
        return {"retake_variance": inputs["variance"]}
    if graph == "audio2audio":
        reference = _asset(inputs["reference"])
        return {"audio2audio_enable": True, "ref_audio_strength": inputs["strength"], "ref_audio_input": reference}
    if "source" not in inputs:
        return {}
    own: dict[str, Any] = {"src_audio_path": _asset(inputs["source"])}
    if graph == "repaint":
        start, end = inputs["span"]["start"], inputs["span"]["end"]
        own |= {"repaint_start": start, "repaint_end": seconds if end is None else end}
        own |= {"retake_variance": inputs["variance"]}
    elif graph == "extend":
        own |= {"repaint_start": -inputs["left"], "repaint_end": seconds - inputs["left"], "retake_variance": 1.0}
    elif graph == "edit":
        own |= {"edit_n_min": inputs["minimum"], "edit_n_max": inputs["maximum"]}
        own |= {"edit_target_prompt": inputs["new_tags"], "edit_target_lyrics": inputs["new_lyrics"]}
    return own


def _asset(value: Any) -> str:
    return str(value["asset"] if isinstance(value, Mapping) else value)


def _times(nodes: Sequence[NodeRecord]) -> dict[str, float]:
    times = {"preprocess": 0.0, "diffusion": 0.0, "latent2audio": 0.0}
    for node in nodes:
        phase = "preprocess" if node.stage in _BEFORE else "diffusion" if node.stage in _DIFFUSION else "latent2audio"
        times[phase] += node.seconds or 0.0
    return {name: round(seconds, 4) for name, seconds in times.items()}
