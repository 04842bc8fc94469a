"""The measurements of a job: what is measured fits the table."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from acestep_flows.bulk.measurements import ALIASES, FIELDS, measure_song, measurements_struct
from acestep_flows.values import Audio
from tests.bulk.songs import chords

SILENCE = Audio(np.zeros((2, 4410), np.float32), 44_100)


@pytest.mark.parametrize("song", [chords(1), SILENCE, Audio(np.zeros((1, 0), np.float32), 8000)])
def test_what_is_measured_fits_the_table(song: Audio) -> None:
    found = measure_song(song)
    assert list(found) == list(FIELDS)
    for name, value in found.items():
        assert value is None or isinstance(value, FIELDS[name])
    assert pa.array([found, None], measurements_struct()).to_pylist() == [found, None]


def test_all_fields_may_be_unknown() -> None:
    assert all(field.nullable for field in measurements_struct())
    assert pa.array([dict.fromkeys(FIELDS)], measurements_struct()).to_pylist() == [dict.fromkeys(FIELDS)]


def test_what_jobs_are_asked_for_is_measured() -> None:
    asked = {"loudness_lufs", "true_peak_db", "clipping_runs", "silence_share", "tempo_bpm", "key", "cutoff_hz"}
    assert asked <= set(FIELDS) | set(ALIASES)
    assert set(ALIASES.values()) <= set(FIELDS)
    assert not set(ALIASES) & set(FIELDS)
