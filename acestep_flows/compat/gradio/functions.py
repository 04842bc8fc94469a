"""The functions of v1's page: their parameters in order, with v1's values as defaults, and how calls send them.

A client fills in what its user leaves out. So a value that is the default counts as not sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acestep_flows.compat.gradio.tables import ROWS
from acestep_flows.compat.parsing import is_absent
from acestep_flows.compat.refusal import Refusal
from acestep_flows.compat.song_rows import SAMPLER_DEFAULTS

FORMATS = ("wav", "mp3", "flac", "ogg")

_SAMPLER: Mapping[str, Any] = {**SAMPLER_DEFAULTS, "use_erg_lyric": False}
_ADAPTER: Mapping[str, Any] = {"lora_name_or_path": "none", "lora_weight": 1.0}
_FORM: Mapping[str, Any] = {"prompt": "", "lyrics": "", **_SAMPLER, **_ADAPTER, "format": "wav"}
_SOURCE: Mapping[str, Any] = {"json_data": None, "source_audio": None}


@dataclass(frozen=True)
class Function:
    """One function of the page.

    Attributes:
        name: as clients call it, without the slash.
        parameters: in order, with their defaults.
    """

    name: str
    parameters: Mapping[str, Any]


CALL = Function(
    "__call__",
    {
        "audio_duration": -1.0,
        "prompt": "",
        "lyrics": "",
        **_SAMPLER,
        "audio2audio_enable": False,
        "ref_audio_strength": 0.5,
        "ref_audio_input": None,
        **_ADAPTER,
        "format": "wav",
    },
)
RETAKE = Function("retake_process_func", {"json_data": None, "retake_variance": 0.2, "retake_seeds": None})
REPAINT = Function(
    "repaint_process_func",
    {"retake_variance": 0.2, "retake_seeds": None, "repaint_start": 0.0, "repaint_end": 30.0, **_SOURCE, **_FORM},
)
EDIT = Function(
    "edit_process_func",
    {
        "edit_type": "only_lyrics",
        "edit_prompt": "",
        "edit_lyrics": "",
        "edit_n_min": 0.6,
        "edit_n_max": 1.0,
        "edit_seeds": None,
        **_SOURCE,
        **_FORM,
    },
)
EXTEND = Function(
    "extend_process_func",
    {"extend_seeds": None, "left_extend_length": 0.0, "right_extend_length": 30.0, **_SOURCE, **_FORM},
)
FUNCTIONS = (CALL, RETAKE, REPAINT, EDIT, EXTEND)

_FORMAT_FIRST = ("format", *(name for name in CALL.parameters if name != "format"))
"""The order of v1's own Python call."""


def arguments(function: Function, data: Any) -> dict[str, Any]:
    """The arguments of a call by name, without those that are absent or the default.

    Args:
        data: the values by position. v1's own order, whose first is the format, is known by that.

    Raises:
        Refusal: these are not as many values as the function has parameters.
    """
    names = list(function.parameters)
    if not isinstance(data, list) or len(data) > len(names):
        raise Refusal("data", data, f"a list of up to {len(names)} values: {', '.join(names)}")
    if function is CALL and data and isinstance(data[0], str) and data[0] in FORMATS:
        sent = _format_first(data)
    else:
        sent = dict(zip(names, data, strict=False))
    return {
        name: value
        for name, value in sent.items()
        if not is_absent(value) and not _is_default(name, value, function.parameters[name])
    }


def _format_first(data: Sequence[Any]) -> dict[str, Any]:
    """Values in v1's own order.

    Those that a client filled in itself, after the last position or between names, are in our order: there the last
    one is the format.
    """
    names = tuple(CALL.parameters)
    if len(data) < len(names) or data[-1] not in FORMATS:
        return dict(zip(_FORMAT_FIRST, data, strict=False))
    filled = [at for at in range(1, len(names)) if _same(data[at], CALL.parameters[names[at]])]
    readings = [
        dict(zip(names[at:], data[at:], strict=True)) | dict(zip(_FORMAT_FIRST[:at], data[:at], strict=True))
        for at in filled
    ]
    return next((reading for reading in readings if _is_readable(reading)), dict(zip(_FORMAT_FIRST, data, strict=True)))


def _same(value: Any, default: Any) -> bool:
    """Whether a value is a default to the letter: 15 is not 15.0."""
    return type(value) is type(default) and value == default


def _is_readable(values: Mapping[str, Any]) -> bool:
    for row in ROWS:
        if row.name in values and not is_absent(values[row.name]):
            try:
                row.parse(values[row.name])
            except ValueError:
                return False
    return all(isinstance(values.get(name, ""), str) for name in ("prompt", "lyrics", "lora_name_or_path"))


def _is_default(name: str, value: Any, default: Any) -> bool:
    """Whether a value means the default, in whatever form it was written."""
    row = next((row for row in ROWS if row.name == name), None)
    if row is None or default is None:
        return bool(value == default)
    try:
        return bool(row.parse(value) == default)
    except ValueError:
        return False
