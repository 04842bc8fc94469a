"""The parameters that ACE-Step v1 writes beside a song (`*_input_params.json`), as a graph of ours and its inputs.

Spec 06 section 3. Older files lack everything from `task` and `lora_name_or_path` on. The inputs ask for
`compatibility: upstream`, so that known defects of v1 are repeated and the song is v1's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from acestep_flows.errors import InputError
from acestep_flows.graph.language.wording import clip, show, unlike
from acestep_flows.recipes.stored_recipe import FileInput, StoredRecipe
from acestep_flows.values import Span, frames_from_seconds, seconds_from_frames
from acestep_flows.wording.phrases import allowing

SUFFIX = "_input_params.json"
"""How v1's files end."""

NO_SOURCE_TEXT = "v1 does not write the tags and lyrics that the song had before the edit: give tags and lyrics"

SAMPLER = {
    "infer_step": "steps",
    "guidance_scale": "guidance_scale",
    "scheduler_type": "solver",
    "cfg_type": "guidance",
    "omega_scale": "omega",
    "guidance_interval": "guidance_interval",
    "guidance_interval_decay": "guidance_decay",
    "min_guidance_scale": "guidance_minimum",
    "use_erg_tag": "erg_tag",
    "use_erg_lyric": "erg_lyric",
    "use_erg_diffusion": "erg_diffusion",
    "guidance_scale_text": "guidance_scale_text",
    "guidance_scale_lyric": "guidance_scale_lyric",
}
"""v1's parameters of sampling that mean the same here, and our names of them."""

_READ = {
    *SAMPLER,
    *("format", "task", "prompt", "lyrics", "audio_duration", "oss_steps", "actual_seeds", "retake_seeds"),
    *("retake_variance", "repaint_start", "repaint_end", "edit_n_min", "edit_n_max", "edit_n_avg", "src_audio_path"),
    *("edit_target_prompt", "edit_target_lyrics", "audio2audio_enable", "ref_audio_strength", "ref_audio_input"),
    *("lora_name_or_path", "lora_weight", "audio_path"),
}
_MEASURED = {"timecosts", "sample_rate", "warnings"}
"""What was measured and told, by v1 or by `compat.v1`. It does not make the song."""


def is_upstream(content: Any) -> bool:
    """Whether JSON has the parameters of v1."""
    return isinstance(content, Mapping) and "prompt" in content and "infer_step" in content and "recipe" not in content


def read_upstream(content: Mapping[str, Any], where: str) -> StoredRecipe:
    """v1's parameters as a recipe of one of our graphs.

    Raises:
        InputError: a parameter is not of its type, or the task is unknown.
    """
    given = _Parameters(content, where)
    task = _task(given)
    graph, own = _TASKS[task](given)
    inputs = {name: content[key] for key, name in SAMPLER.items() if content.get(key) is not None}
    if steps := given.whole_numbers("oss_steps"):
        inputs["oss_steps"] = steps
    if (adapter := given.text("lora_name_or_path")) not in ("", "none"):
        inputs |= {"adapter": adapter, "adapter_weight": given.number("lora_weight", 1.0)}
    inputs |= own | {"compatibility": "upstream"}
    seeds: dict[str, Any] = {name: inputs[name] for name in ("seed", "retake_seed") if name in inputs}
    given.tell_unread()
    return StoredRecipe(where, graph, inputs, seeds=seeds, warnings=tuple(given.warnings))


class _Parameters:
    """v1's parameters, each in the type that it has, and what is told about them.

    Attributes:
        warnings: what cannot be taken over.
    """

    def __init__(self, content: Mapping[str, Any], where: str) -> None:
        self.content, self._where = content, where
        self.warnings: list[str] = []

    def text(self, name: str) -> str:
        """A text; empty where there is none."""
        value = self.content.get(name)
        if value is not None and not isinstance(value, str):
            raise self._fault(name, "text")
        return value or ""

    def number(self, name: str, default: float) -> float:
        """A number; `default` where there is none."""
        value = self.content.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self._fault(name, "a number")
        return float(value)

    def whole_numbers(self, name: str) -> list[int]:
        """Whole numbers: a list, one alone, or text with commas between them, as the page of v1 takes them."""
        value = self.content.get(name)
        parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
        try:
            numbers = [(part, int(part)) for part in parts if part is not None and str(part).strip()]
        except (ValueError, TypeError, OverflowError):
            raise self._fault(name, "whole numbers") from None
        if any(isinstance(part, float) and part != number for part, number in numbers):
            raise self._fault(name, "whole numbers")
        return [number for _, number in numbers]

    def seed(self, name: str) -> dict[str, Any]:
        """The seed of this song. v1 writes the seeds of all songs of a batch, and numbers their files."""
        seeds = self.whole_numbers(name)
        if not seeds:
            return {}
        stem = self.text("audio_path").rpartition(".")[0]
        number = stem.rpartition("_")[2]
        index = int(number) if number.isdecimal() and int(number) < len(seeds) else 0
        if others := [seed for i, seed in enumerate(seeds) if i != index and seed != seeds[index]]:
            self.warnings.append(f"{name}: this is one song of {len(seeds)}; the others have {_listed(others)}")
        return {"retake_seed" if name == "retake_seeds" else "seed": seeds[index]}

    def file(self, name: str) -> FileInput:
        """An audio file. Of v1's files only the path is known."""
        path = self.text(name)
        return FileInput("audio", "", (path,) if path else ())

    def duration(self) -> dict[str, Any]:
        """The length of the song, which v1 may have drawn."""
        seconds = self.number("audio_duration", 0.0)
        if seconds <= 0:
            self.warnings.append(f"audio_duration {seconds:g}: v1 drew a length and did not write which; give duration")
            return {}
        return {"duration": seconds}

    def leave(self, name: str, unless: object, reason: str) -> None:
        """Tell that a parameter is not taken over, unless it has the value that does nothing."""
        if (value := self.content.get(name)) not in (None, unless):
            self.warnings.append(f"{name} {value}: {reason}")

    def tell_unread(self) -> None:
        """Tell of parameters that this reader does not know, and of those that are ours to give elsewhere."""
        if unknown := [clip(str(name)) for name in self.content if name not in _READ | _MEASURED]:
            self.warnings.append(f"not parameters of v1: {_listed(unknown)}")
        if (format := self.text("format")) not in ("", "wav"):
            self.warnings.append(f"format {clip(format)}: give --format, or format= to save()")

    def _fault(self, name: str, wanted: str) -> InputError:
        return InputError(show(self.content[name]), where=f"{self._where}, {name}", allowed=wanted)


def _listed(values: Iterable[object], most: int = 8) -> str:
    texts = [str(value) for value in values]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")


def _task(given: _Parameters) -> str:
    """The task; a reference makes any of them audio2audio, as in v1."""
    task = given.text("task") or "text2music"
    if given.content.get("audio2audio_enable") and given.text("ref_audio_input"):
        task = "audio2audio"
    if task not in _TASKS:
        raise allowing(InputError(unlike("task of v1", task, _TASKS), where="task"), _TASKS)
    return task


def _text_of(given: _Parameters) -> dict[str, Any]:
    return {"tags": given.text("prompt"), "lyrics": given.text("lyrics")}


def _text2music(given: _Parameters) -> tuple[str, dict[str, Any]]:
    return "text2music", _text_of(given) | given.duration() | given.seed("actual_seeds")


def _retake(given: _Parameters) -> tuple[str, dict[str, Any]]:
    _, inputs = _text2music(given)
    return "retake", inputs | given.seed("retake_seeds") | {"variance": given.number("retake_variance", 0.5)}


def _audio2audio(given: _Parameters) -> tuple[str, dict[str, Any]]:
    """The length is the reference's."""
    strength = {"reference": given.file("ref_audio_input"), "strength": given.number("ref_audio_strength", 0.5)}
    return "audio2audio", _text_of(given) | given.seed("actual_seeds") | strength


def _repaint(given: _Parameters) -> tuple[str, dict[str, Any]]:
    """Repaint or extend: which of the two it is, v1 decides by the frames and not by the task."""
    source = {"source": given.file("src_audio_path")}
    inputs = _text_of(given) | source | given.seed("actual_seeds") | given.seed("retake_seeds")
    start, end = given.number("repaint_start", 0.0), given.number("repaint_end", 0.0)
    duration = given.number("audio_duration", 0.0)
    frames = frames_from_seconds(duration + 1e-6)
    if duration <= 0:
        frames = frames_from_seconds(end)
        given.leave("audio_duration", 1, "the source's length is not known, nor what was added on the right")
    left, right = max(0, -frames_from_seconds(start)), max(0, frames_from_seconds(end) - frames)
    variance = given.number("retake_variance", 0.5)
    if not left and not right:
        # v1 truncates the end, so one within the last frame may lie past the song.
        span = Span(max(0.0, start), float(min(end, max(start, seconds_from_frames(frames)))))
        return "repaint", inputs | {"span": span, "variance": variance}
    given.leave("retake_variance", 1, "extend has none, new parts are wholly new")
    if left and right:  # v1 takes the left part away from the right one
        given.warnings.append(f"repaint_end {end:g}: v1 added {left} frames fewer on the right than were asked for")
        right = max(0, right - left)
    return "extend", inputs | {"left": seconds_from_frames(left), "right": seconds_from_frames(right)}


def _edit(given: _Parameters) -> tuple[str, dict[str, Any]]:
    """The prompt and lyrics that v1 writes are those of the target. The noise comes from the retake seeds."""
    seed = given.seed("retake_seeds")
    inputs = {
        "source": given.file("src_audio_path"),
        "new_tags": given.text("edit_target_prompt") or given.text("prompt"),
        "new_lyrics": given.text("edit_target_lyrics") or given.text("lyrics"),
        "minimum": given.number("edit_n_min", 0.0),
        "maximum": given.number("edit_n_max", 1.0),
        "averages": int(given.number("edit_n_avg", 1)),
    }
    given.warnings.append(NO_SOURCE_TEXT)
    return "edit", inputs | ({"seed": seed["retake_seed"]} if seed else {})


_TASKS: dict[str, Callable[[_Parameters], tuple[str, dict[str, Any]]]] = {
    "text2music": _text2music,
    "retake": _retake,
    "repaint": _repaint,
    "extend": _repaint,
    "edit": _edit,
    "audio2audio": _audio2audio,
}
