"""The source's own samples around an edit: to the bit outside of the crossfades, and no step at the joints."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.audio.put_back import CROSSFADE, REACH, around_span, inside_extension
from acestep_flows.values import Audio, Span
from tests.audio.signals import RATE, noise, noisy, silence, sine


@given(
    length=st.integers(1, 30_000),
    edges=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    channels=st.sampled_from([1, 2]),
    rate=st.sampled_from([8_000, 44_100, 48_000]),
)
@settings(deadline=None)
def test_outside_of_the_span_and_its_crossfades_the_source_stays(
    length: int, edges: tuple[float, float], channels: int, rate: int
) -> None:
    source, changed = Audio(noise(channels, length), rate), noisy(1.0, seed=1)
    start, end = sorted(edge * length / rate for edge in edges)
    span = Span(start, max(end, start + 0.5 / rate))
    result = around_span(source, changed, span)
    assert result.audio.samples.shape == source.samples.shape
    assert result.audio.sample_rate == rate
    fade = round(CROSSFADE * rate)
    steps = np.arange(length)
    outside = (steps < round(span.start * rate) - fade) | (steps >= round(span.end * rate) + fade)
    np.testing.assert_array_equal(result.audio.samples[:, outside], source.samples[:, outside])
    for joint in result.joints:
        assert joint.end - joint.start == fade


@pytest.mark.parametrize(("channels", "kept"), [(1, 1), (2, 2), (6, 2)])
def test_mono_stays_mono_and_the_first_two_of_many_count(channels: int, kept: int) -> None:
    source = noisy(2, channels=channels, rate=44_100)
    result = around_span(source, noisy(2, seed=1), Span(0.5, 1.0)).audio
    assert result.channels == kept
    np.testing.assert_array_equal(result.samples[:, :20_000], source.samples[:kept, :20_000])


def test_inside_of_the_span_the_change_is_heard() -> None:
    source, changed = noisy(3), noisy(3, seed=1)
    result = around_span(source, changed, Span(1, 2)).audio
    inner = slice(round((1 + REACH + CROSSFADE) * RATE), round((2 - REACH - CROSSFADE) * RATE))
    np.testing.assert_array_equal(result.samples[:, inner], changed.samples[:, inner])


def test_a_joint_lies_where_both_are_quiet_or_alike() -> None:
    source, changed = noisy(3), noisy(3, seed=1)
    quiet = slice(round(1.02 * RATE), round(1.06 * RATE))
    same = slice(round(1.945 * RATE), round(1.985 * RATE))
    before, after = source.samples.copy(), changed.samples.copy()
    before[:, quiet] = after[:, quiet] = 0
    after[:, same] = before[:, same]
    into, back = around_span(Audio(before, RATE), Audio(after, RATE), Span(1, 2)).joints
    assert quiet.start <= into.start < into.end <= quiet.stop
    assert same.start <= back.start < back.end <= same.stop


def test_a_change_that_is_none_leaves_the_source() -> None:
    source = noisy(2)
    np.testing.assert_allclose(around_span(source, source, Span(0.5, 1)).audio.samples, source.samples, atol=1e-6)
    longer = Audio(np.pad(source.samples, ((0, 0), (RATE, RATE))), RATE)
    np.testing.assert_allclose(inside_extension(source, longer, 1.0).audio.samples, longer.samples, atol=1e-6)


@pytest.mark.parametrize("other", [noisy(3, seed=1), sine(220, 3, level=0.1414)])
def test_the_level_stays_during_a_crossfade(other: Audio) -> None:
    result = around_span(noisy(3, seed=2), other, Span(1, 2))
    for joint in result.joints:
        faded = result.audio.samples[:, joint.start : joint.end]
        assert 20 * np.log10(np.std(faded) / 0.1) == pytest.approx(0, abs=1.0)
    assert all(abs(joint["level_step_db"]) < 1.5 for joint in result.entries()["joints"])


@pytest.mark.parametrize(("span", "joints"), [((0, 1), 1), ((1, 2), 1), ((0, 2), 0), ((0.01, 1.99), 0)])
def test_an_end_of_the_song_has_no_joint(span: tuple[float, float], joints: int) -> None:
    source, changed = noisy(2), noisy(2, seed=1)
    result = around_span(source, changed, Span(*span))
    assert len(result.joints) == joints
    if not joints:
        assert result.audio == changed


@given(
    left=st.integers(0, 5_000), right=st.integers(0, 20_000), length=st.integers(1, 9_000), channels=st.integers(1, 2)
)
@settings(deadline=None)
def test_an_extension_holds_the_whole_source(left: int, right: int, length: int, channels: int) -> None:
    source = Audio(noise(channels, length), RATE)
    longer = Audio(noise(2, left + length + right, seed=1), RATE)
    result = inside_extension(source, longer, left / RATE)
    padding = 4096 / 44_100 * RATE
    assert result.offset == left / RATE
    assert result.audio.samples.shape[1] == left + length + (right if right >= padding else 0)
    fade = min(round(CROSSFADE * RATE), length // 2)
    first, last = fade if left else 0, length - (fade if right >= padding else 0)
    own = result.audio.samples[:, left + first : left + last]
    np.testing.assert_array_equal(own, source.samples[:, first:last])
    beyond = result.audio.samples[:, left + length :]
    expected = longer.samples if channels == 2 else longer.samples.mean(axis=0, keepdims=True)
    np.testing.assert_allclose(beyond, expected[:, left + length :][:, : beyond.shape[1]], atol=1e-7)


def test_a_source_of_another_rate_keeps_it() -> None:
    source = noisy(2, rate=44_100)
    result = inside_extension(source, noisy(4, seed=1), 1.0)
    assert (result.audio.sample_rate, result.audio.samples.shape[1]) == (44_100, 4 * 44_100)
    np.testing.assert_array_equal(result.audio.samples[:, 50_000:100_000], source.samples[:, 5_900:55_900])


def test_cutting_moves_joints_and_source() -> None:
    result = inside_extension(noisy(2), noisy(4, seed=1), 1.0).cut(RATE // 2, round(3.75 * RATE))
    assert (result.offset, result.audio.seconds) == (0.5, 3.25)
    assert [(joint.start, joint.end) for joint in result.joints] == [
        (RATE // 2, RATE // 2 + 1_440),
        (round(2.5 * RATE) - 1_440, round(2.5 * RATE)),
    ]


def test_silence_has_no_level_step() -> None:
    result = around_span(silence(2), noisy(2), Span(0.5, 1))
    assert [joint["level_step_db"] for joint in result.entries()["joints"]] == [None, None]
