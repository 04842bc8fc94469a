"""Rates and estimates of a job under way."""

from __future__ import annotations

import pytest

from acestep_flows.bulk.progress import JobProgress


def test_nothing_is_claimed_before_the_first_row() -> None:
    before = JobProgress(rows=20, elapsed=9.0)
    assert (before.settled, before.left, before.rows_per_hour, before.speed) == (0, 20, 0, 0)
    assert before.seconds_left is None


def test_rates_leave_out_start_up_and_earlier_calls() -> None:
    now = JobProgress(
        rows=20, done=12, resumed=8, failed=3, failed_before=2, audio_seconds=25.0, elapsed=60.0, rendering=50.0
    )
    assert now.settled == 5
    assert now.left == 5
    assert now.rows_per_hour == pytest.approx(360)
    assert now.speed == pytest.approx(0.5)
    assert now.seconds_left == pytest.approx(50)


def test_rows_that_no_song_was_tried_for_are_no_speed() -> None:
    now = JobProgress(rows=20, done=4, failed=8, refused=6, rendering=50.0)
    assert (now.settled, now.rendered, now.left) == (12, 6, 8)
    assert now.rows_per_hour == pytest.approx(432)
    assert now.seconds_left == pytest.approx(8 * 50 / 6)
    bad = JobProgress(rows=20, failed=8, refused=8, rendering=50.0)
    assert (bad.rows_per_hour, bad.seconds_left) == (0, None)


def test_the_end() -> None:
    assert JobProgress(rows=2, done=2, resumed=2).seconds_left == 0
