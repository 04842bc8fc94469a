"""Locality: changes are found in their region and in no other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.audio import locality
from acestep_flows.errors import InputError
from acestep_flows.values import Audio, Latents, Report, Span, seconds_from_frames
from tests.audio.signals import RATE, noise, noisy, silence


def latents(frames: int, seed: int = 0) -> Latents:
    return Latents(noise(8, 16, frames, seed=seed, level=1.0))


@given(frames=st.integers(3, 60), data=st.data())
@settings(deadline=None)
def test_a_change_inside_the_span_is_exactly_zero_outside(frames: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, frames - 2))
    last = data.draw(st.integers(first + 1, frames - 1))
    before, changed = latents(frames), latents(frames).array.copy()
    changed[:, :, first:last] += 1
    span = Span(seconds_from_frames(first), seconds_from_frames(last))
    result = locality.latents(before, Latents(changed), span)
    assert result.edges is None
    assert result.inside is not None
    assert result.inside.rms == pytest.approx(1, rel=1e-5)
    assert result.inside.seconds == pytest.approx(span.end - span.start)
    assert result.outside is not None
    assert (result.outside.rms, result.outside.relative, result.outside.largest) == (0, 0, 0)
    assert result.outside.decibels is None


def test_a_change_outside_is_found() -> None:
    before, changed = latents(50), latents(50).array.copy()
    changed[3, 5, 49] += 0.5
    result = locality.latents(before, Latents(changed), Span(1, 2))
    assert result.inside is not None
    assert result.inside.rms == 0
    assert result.outside is not None
    assert result.outside.largest == pytest.approx(0.5)


def test_levels_are_relative_to_the_first_version() -> None:
    before = noisy(2)
    result = locality.audio(before, Audio(before.samples * np.float32(1.1), RATE), Span(0, 1))
    for change in (result.inside, result.outside):
        assert change is not None
        assert change.relative == pytest.approx(0.1, rel=1e-3)
        assert change.decibels == pytest.approx(-20, abs=0.01)
        assert change.seconds == 1


def test_the_edges_are_a_region_of_their_own() -> None:
    before = noisy(3)
    samples = before.samples.copy()
    samples[:, round(0.9 * RATE) : round(2.1 * RATE)] *= -1
    result = locality.audio(before, Audio(samples, RATE), Span(1, 2), edge=0.25)
    assert result.inside is not None
    assert result.inside.relative == pytest.approx(2)
    assert result.edges is not None
    assert result.edges.seconds == pytest.approx(0.5)
    assert result.edges.relative == pytest.approx(2 * 0.4**0.5, rel=0.05)
    assert result.outside is not None
    assert result.outside.rms == 0


def test_an_extension_is_compared_where_both_versions_exist() -> None:
    before, new = latents(20), latents(30, seed=1).array.copy()
    new[:, :, 7:27] = before.array
    span = Span(0, seconds_from_frames(7))
    result = locality.latents(before, Latents(new), span, offset=7)
    assert result.inside is None
    assert result.outside is not None
    assert result.outside.seconds == pytest.approx(seconds_from_frames(20))
    assert result.outside.rms == 0


def test_versions_of_different_rates_and_channels_are_compared() -> None:
    before = noisy(1, channels=1, rate=44_100)
    result = locality.audio(before, noisy(1), Span(0, 0.5))
    assert result.outside is not None
    assert result.outside.seconds == pytest.approx(0.5)


def test_silence_has_no_relative_change() -> None:
    result = locality.audio(silence(1), noisy(1), Span(0, 0.5))
    assert result.outside is not None
    assert result.outside.relative is None
    assert result.outside.decibels is None
    assert result.outside.rms > 0


def test_entries_make_a_report() -> None:
    report = Report(locality.audio(noisy(1), noisy(1, seed=1), Span(0, 1)).entries())
    assert set(report.entries) == {"inside", "edges", "outside"}
    assert report.entries["outside"] is None


def test_versions_without_common_time_have_no_regions() -> None:
    result = locality.latents(latents(5), latents(5), Span(0, 1), offset=9)
    assert (result.inside, result.edges, result.outside) == (None, None, None)


def test_a_negative_edge_is_refused() -> None:
    with pytest.raises(InputError, match="edge -1 s"):
        locality.audio(noisy(1), noisy(1), Span(0, 1), edge=-1)
