"""Tempos as people write them in tags."""

from __future__ import annotations

import pytest

from acestep_flows.wording.tempo import tempo_first, tempos


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("house, 128 bpm", (128.0,)),
        ("128BPM", (128.0,)),
        ("bpm: 97.5, jazz", (97.5,)),
        ("BPM 90", (90.0,)),
        ("120-bpm", (120.0,)),
        ("120 bpm, half time 60 bpm", (120.0, 60.0)),
        ("120 bpm, 120 bpm", (120.0,)),
        ("90s pop, 2 voices", ()),
        ("", ()),
    ],
)
def test_tempos_are_found(tags: str, found: tuple[float, ...]) -> None:
    assert tempos(tags) == found


def test_the_tempo_goes_first_and_all_else_stays_in_order() -> None:
    assert tempo_first("house, 128 bpm, C minor") == "128 bpm, house, C minor"
    assert tempo_first("128 bpm, house") == "128 bpm, house"
    assert tempo_first("house;piano") == "house;piano"
    assert tempo_first("a scene at night") == "a scene at night"
