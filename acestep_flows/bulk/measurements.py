"""The measurements of every song of a job, and their types in tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from acestep_flows.audio.measure import Measurement, measure
from acestep_flows.values import Audio

ALIASES: Mapping[str, str] = {
    "duration": "seconds",
    "loudness": "loudness_lufs",
    "true_peak_db": "true_peak_dbtp",
    "sample_peak_db": "sample_peak_dbfs",
    "tempo": "tempo_bpm",
}
"""Other names that gates may use."""


def _types() -> dict[str, type]:
    hints = get_type_hints(Measurement)
    return {
        field.name: next((kind for kind in get_args(hints[field.name]) if kind is not type(None)), hints[field.name])
        for field in dataclasses.fields(Measurement)
    }


FIELDS: Mapping[str, type] = _types()
"""The measurements by name, in order: float, int or str. Any may be None (see `Measurement`)."""


def measure_song(audio: Audio) -> dict[str, Any]:
    """All measurements of a song."""
    return measure(audio).entries()


def measurements_struct() -> Any:
    """The measurements as a pyarrow struct type, every field nullable."""
    import pyarrow as pa

    kinds = {float: pa.float64(), int: pa.int64(), str: pa.string()}
    return pa.struct([pa.field(name, kinds[kind]) for name, kind in FIELDS.items()])
