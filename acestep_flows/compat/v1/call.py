"""The arguments of v1's Python call, and the runs that they become."""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from acestep_flows.compat.fields import Draft, FieldRow, SongRequest, ignored, settle_words, translate
from acestep_flows.compat.parsing import boolean, choice, integer, is_absent, number, seeds, text
from acestep_flows.compat.refusal import Refusal
from acestep_flows.compat.song_rows import FORMATS, SAMPLER_DEFAULTS, put_format
from acestep_flows.compat.v1.tables import INFER
from acestep_flows.values import MAX_SEED

PARAMETERS: Mapping[str, Any] = {
    "format": "wav",
    "audio_duration": 60.0,
    "prompt": None,
    "lyrics": None,
    **SAMPLER_DEFAULTS,
    "audio2audio_enable": False,
    "ref_audio_strength": 0.5,
    "ref_audio_input": None,
    "lora_name_or_path": "none",
    "lora_weight": 1.0,
    "retake_seeds": None,
    "retake_variance": 0.5,
    "task": "text2music",
    "repaint_start": 0,
    "repaint_end": 0,
    "src_audio_path": None,
    "edit_target_prompt": None,
    "edit_target_lyrics": None,
    "edit_n_min": 0.0,
    "edit_n_max": 1.0,
    "edit_n_avg": 1,
    "save_path": None,
    "batch_size": 1,
    "debug": False,
}
"""The parameters of the call in their order, with v1's defaults."""

TASKS = ("text2music", "retake", "repaint", "extend", "edit", "audio2audio")
TOLERANCE = 0.093
"""Seconds of a frame. An end that is no further past the source is the end of the source."""


def _path(value: Any) -> str:
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError("the path of a file")
    return os.fspath(value)


def _of_infer(name: str) -> FieldRow:
    """A row that infer-api has too, where it is required."""
    return dataclasses.replace(next(row for row in INFER if row.name == name), required=False)


_SAME = (
    *("audio_duration", "prompt", "lyrics", "infer_step", "guidance_scale", "scheduler_type", "cfg_type"),
    *("omega_scale", "guidance_interval", "guidance_interval_decay", "min_guidance_scale", "use_erg_tag"),
    *("use_erg_lyric", "use_erg_diffusion", "oss_steps", "guidance_scale_text", "guidance_scale_lyric"),
)

TABLE = (
    FieldRow("format", choice(FORMATS), put_format),
    *map(_of_infer, _SAME),
    FieldRow("manual_seeds", seeds()),
    FieldRow("audio2audio_enable", boolean()),
    FieldRow("ref_audio_strength", number(0, 1)),
    FieldRow("ref_audio_input", _path),
    FieldRow("lora_name_or_path", text()),
    FieldRow("lora_weight", number(-10, 10)),
    FieldRow("retake_seeds", seeds()),
    FieldRow("retake_variance", number(0, 1)),
    FieldRow("task", choice(TASKS)),
    FieldRow("repaint_start", number()),
    FieldRow("repaint_end", number()),
    FieldRow("src_audio_path", _path),
    FieldRow("edit_target_prompt", text()),
    FieldRow("edit_target_lyrics", text()),
    FieldRow("edit_n_min", number(0, 1)),
    FieldRow("edit_n_max", number(0, 1)),
    FieldRow("edit_n_avg", integer(1, 64)),
    FieldRow("save_path", _path),
    FieldRow("batch_size", integer(1, 64)),
    ignored("debug", "nothing more is told", False, parse=boolean()),
)


class PipelineCall:
    """One call: its arguments as they were read, and a run for each song.

    Args:
        sent: the arguments that were given, by name.
        draft: an empty draft for the model.
        seconds: the length of an audio file.

    Attributes:
        task: the task, audio2audio if there is a reference.
        count: number of songs.
        draft: what the songs share.

    Raises:
        InputError: arguments are not usable; all of them at once.
    """

    def __init__(self, sent: Mapping[str, Any], draft: Draft, seconds: Callable[[str], float]) -> None:
        draft.format = "wav"
        self.draft = translate(TABLE, sent, draft)
        self._seconds = seconds
        values = self.draft.values
        self.task = str(values.get("task", PARAMETERS["task"]))
        if values.get("audio2audio_enable"):
            if "ref_audio_input" in values:
                self.task = "audio2audio"
            else:
                self.draft.warn("audio2audio_enable", True, "not used without ref_audio_input")
        main, retake = values.get("manual_seeds", []), values.get("retake_seeds", [])
        self.count = int(values.get("batch_size", max(1, len(main))))
        self._seeds, self._retake_seeds = _each(main, self.count), _each(retake, self.count)
        for name in ("manual_seeds", "retake_seeds"):
            if len(values.get(name, ())) > self.count:
                self.draft.warn(name, values[name], f"the first {self.count} are used")

    def value(self, name: str) -> Any:
        """An argument as it was read, or else its default."""
        return self.draft.values.get(name, PARAMETERS[name])

    def songs(self) -> list[SongRequest]:
        """The request of each song.

        Raises:
            Refusal: an argument of the task is missing or does not fit its audio.
        """
        settle_words(self.draft, "prompt", "lyrics")
        if (adapter := self.value("lora_name_or_path").strip()).lower() != "none":
            self.draft.put("adapter", adapter, "lora_name_or_path")
            self.draft.put("adapter_weight", self.value("lora_weight"), "lora_weight")
        if self.task in ("text2music", "retake"):
            self.draft.put("duration", self.draft.inputs.get("duration", PARAMETERS["audio_duration"]))
        else:
            self._length_of_source()
        make = {
            "text2music": self._text2music,
            "retake": self._retake,
            "audio2audio": self._audio2audio,
            "repaint": self._repaint,
            "extend": self._repaint,
            "edit": self._edit,
        }
        make[self.task]()
        return [self._song(number) for number in range(self.count)]

    def _song(self, number: int) -> SongRequest:
        song = self.draft.song()
        main, retake = self._seeds[number], self._retake_seeds[number]
        drawn = {"seed": retake, "retake_seed": None} if self.task == "edit" else {"seed": main, "retake_seed": retake}
        if self.task in ("text2music", "audio2audio", "edit"):
            del drawn["retake_seed"]
        own = {name: secrets.randbelow(MAX_SEED + 1) if seed is None else seed for name, seed in drawn.items()}
        return dataclasses.replace(song, inputs={**song.inputs, **own})

    def _text2music(self) -> None:
        self.draft.graph = "text2music"

    def _retake(self) -> None:
        self.draft.graph = "retake"
        self.draft.put("variance", self.value("retake_variance"), "retake_variance")

    def _audio2audio(self) -> None:
        self.draft.graph = "audio2audio"
        self.draft.put("reference", self._file("ref_audio_input"), "ref_audio_input")
        self.draft.put("strength", self.value("ref_audio_strength"), "ref_audio_strength")

    def _repaint(self) -> None:
        """Repaint, or extend: v1 tells them apart by the span and not by the task."""
        path, start, end = self._file("src_audio_path"), self.value("repaint_start"), self.value("repaint_end")
        self.draft.put("source", path, "src_audio_path")
        seconds = self._seconds(path)
        left, right = max(0.0, -start), end - seconds
        if left or right > TOLERANCE:
            self.draft.graph = "extend"
            self.draft.put("left", left, "repaint_start")
            self.draft.put("right", max(0.0, right), "repaint_end")
            if self.draft.values.get("retake_variance", 1.0) != 1:
                self.draft.warn("retake_variance", self.value("retake_variance"), "not used; new parts are wholly new")
            return
        if end <= start:
            raise Refusal("repaint_end", end, f"more than repaint_start, {start:g} s")
        self.draft.graph = "repaint"
        self.draft.put("span", (start, min(end, seconds)), "repaint_end")
        self.draft.put("variance", self.value("retake_variance"), "retake_variance")

    def _edit(self) -> None:
        self.draft.graph = "edit"
        inputs = self.draft.inputs
        self.draft.put("source", self._file("src_audio_path"), "src_audio_path")
        self.draft.put("new_tags", self.value("edit_target_prompt") or inputs["tags"], "edit_target_prompt")
        self.draft.put("new_lyrics", self.value("edit_target_lyrics") or inputs.get("lyrics", ""), "edit_target_lyrics")
        self.draft.put("minimum", self.value("edit_n_min"), "edit_n_min")
        self.draft.put("maximum", self.value("edit_n_max"), "edit_n_max")
        self.draft.put("averages", self.value("edit_n_avg"), "edit_n_avg")

    def _file(self, name: str) -> str:
        if is_absent(path := self.value(name)):
            raise Refusal(name, path, f"the path of an audio file, for {self.task}", "missing", kind="missing")
        if not Path(path).is_file():
            raise Refusal(name, path, "the path of an audio file", f"{path}: no such file")
        return str(path)

    def _length_of_source(self) -> None:
        if self.draft.inputs.pop("duration", None) is not None:
            self.draft.fields.pop("duration", None)
            told = f"not used; {self.task} takes its length from its audio"
            self.draft.warn("audio_duration", self.draft.values["audio_duration"], told)


def _each(found: Sequence[int | None], count: int) -> list[int | None]:
    """A seed for each song, None to draw it. A single one serves all, and of a short list the last one is repeated."""
    return [found[min(number, len(found) - 1)] for number in range(count)] if found else [None] * count


def song_paths(save_path: str | None, format: str, is_default: bool, count: int, unnamed: str) -> list[Path]:
    """Where the songs of a call go, in its format.

    Args:
        save_path: a folder, a file, or the stem of one; None is the folder ./outputs.
        format: of the files.
        is_default: whether the call left the format as it was; then the ending of a file may say it.
        count: number of songs; several are numbered.
        unnamed: stem of files in a folder.
    """
    target = Path(save_path or "outputs")
    if save_path is None or target.is_dir() or save_path.endswith(("/", os.sep)):
        return [target / f"{unnamed}_{number}.{format}" for number in range(count)]
    ending = target.suffix.removeprefix(".").lower()
    if ending in FORMATS:
        target = target.with_suffix("")
        format = ending if is_default else format
    numbers = [""] if count == 1 else [f"_{number}" for number in range(count)]
    return [target.with_name(f"{target.name}{number}.{format}") for number in numbers]
