"""Changes are found where they were made, and nowhere else."""

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
def test_a_change_inside_the_span_leaves_exactly_nothing_outside(frames: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, frames - 2))
    last = data.draw(st.integers(first + 1, frames - 1))
    before, changed = latents(frames), latents(frames).array.copy()
    changed[:, :, first:last] += 1
    span = Span(seconds_from_frames(first), seconds_from_frames(last))
    found = locality.latents(before, Latents(changed), span)
    assert found.edges is None
    assert found.inside is not None
    assert found.inside.rms == pytest.approx(1, rel=1e-5)
    assert found.inside.seconds == pytest.approx(span.end - span.start)
    assert found.outside is not None
    assert (found.outside.rms, found.outside.relative, found.outside.largest) == (0, 0, 0)
    assert found.outside.decibels is None


def test_a_change_outside_is_found() -> None:
    before, changed = latents(50), latents(50).array.copy()
    changed[3, 5, 49] += 0.5
    found = locality.latents(before, Latents(changed), Span(1, 2))
    assert found.inside is not None
    assert found.inside.rms == 0
    assert found.outside is not None
    assert found.outside.largest == pytest.approx(0.5)


def test_levels_are_relative_to_the_version_before() -> None:
    before = noisy(2)
    found = locality.audio(before, Audio(before.samples * np.float32(1.1), RATE), Span(0, 1))
    for change in (found.inside, found.outside):
        assert change is not None
        assert change.relative == pytest.approx(0.1, rel=1e-3)
        assert change.decibels == pytest.approx(-20, abs=0.01)
        assert change.seconds == 1


def test_what_the_decoder_smears_is_counted_apart() -> None:
    before = noisy(3)
    samples = before.samples.copy()
    samples[:, round(0.9 * RATE) : round(2.1 * RATE)] *= -1
    found = locality.audio(before, Audio(samples, RATE), Span(1, 2), edge=0.25)
    assert found.inside is not None
    assert found.inside.relative == pytest.approx(2)
    assert found.edges is not None
    assert found.edges.seconds == pytest.approx(0.5)
    assert found.edges.relative == pytest.approx(2 * 0.4**0.5, rel=0.05)
    assert found.outside is not None
    assert found.outside.rms == 0


def test_an_extension_is_compared_where_both_versions_are() -> None:
    before, new = latents(20), latents(30, seed=1).array.copy()
    new[:, :, 7:27] = before.array
    span = Span(0, seconds_from_frames(7))
    found = locality.latents(before, Latents(new), span, offset=7)
    assert found.inside is None
    assert found.outside is not None
    assert found.outside.seconds == pytest.approx(seconds_from_frames(20))
    assert found.outside.rms == 0


def test_versions_of_other_rates_and_channels() -> None:
    before = noisy(1, channels=1, rate=44_100)
    found = locality.audio(before, noisy(1), Span(0, 0.5))
    assert found.outside is not None
    assert found.outside.seconds == pytest.approx(0.5)


def test_silence_has_no_relative_change() -> None:
    found = locality.audio(silence(1), noisy(1), Span(0, 0.5))
    assert found.outside is not None
    assert found.outside.relative is None
    assert found.outside.decibels is None
    assert found.outside.rms > 0


def test_entries_make_a_report() -> None:
    report = Report(locality.audio(noisy(1), noisy(1, seed=1), Span(0, 1)).entries())
    assert set(report.entries) == {"inside", "edges", "outside"}
    assert report.entries["outside"] is None


def test_versions_that_share_no_time() -> None:
    found = locality.latents(latents(5), latents(5), Span(0, 1), offset=9)
    assert (found.inside, found.edges, found.outside) == (None, None, None)


def test_a_negative_edge() -> None:
    with pytest.raises(InputError, match="edge -1 s"):
        locality.audio(noisy(1), noisy(1), Span(0, 1), edge=-1)
