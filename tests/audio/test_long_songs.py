"""Work on a long song takes memory for its result and for a block, not for copies of the whole."""

from __future__ import annotations

import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from acestep_flows.audio import loudness, resample, spectrum, write
from acestep_flows.audio.piece import piece
from acestep_flows.audio.riff import with_info
from acestep_flows.audio.tags import Tags
from acestep_flows.values import Audio, FloatArray

SECONDS = 240
BLOCK = 16e6
"""Bytes of a block's work that any length may take."""


@pytest.fixture(scope="module")
def song() -> Audio:
    return Audio(np.random.default_rng(0).uniform(-0.9, 0.9, (2, 44_100 * SECONDS)).astype(np.float32), 44_100)


def peak(work: Callable[[], object]) -> int:
    """Bytes of arrays at once while `work` runs."""
    work()  # what is loaded or cached once
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_resampling_holds_its_result(song: Audio) -> None:
    result = song.samples.nbytes * 48_000 / 44_100
    assert peak(lambda: resample.at_rate(song, 48_000)) < result + 2 * BLOCK


def test_resampling_parts_holds_its_result_alone(song: Audio) -> None:
    def parts() -> Iterator[FloatArray]:
        for start in range(0, song.samples.shape[1], 1 << 18):
            yield song.samples[:, start : start + (1 << 18)].copy()  # as a vocoder makes them

    result = song.samples.nbytes * 48_000 / 44_100
    assert peak(lambda: resample.resample_parts(parts(), song.samples.shape, 44_100, 48_000)) < result + 3 * BLOCK


def test_a_value_of_a_song_is_made_without_a_copy(song: Audio) -> None:
    assert peak(lambda: Audio(song.samples, song.sample_rate).digest) < 1e6


def test_a_resampled_song_lies_in_one_piece(song: Audio) -> None:
    assert resample.at_rate(song, 48_000).samples.flags.c_contiguous


def spectra(song: Audio) -> None:
    deque(spectrum.power(song), maxlen=0)


@pytest.mark.parametrize("work", [loudness.rms, loudness.sample_peak, loudness.within_full_scale, spectra])
def test_measuring_copies_nothing(song: Audio, work: Callable[[Audio], object]) -> None:
    assert peak(lambda: work(song)) < 4 * BLOCK < song.samples.nbytes


def test_a_song_within_its_ceiling_is_examined_by_one_array_of_peaks(song: Audio) -> None:
    assert peak(lambda: loudness.limit(song, 6.0)) < song.samples.nbytes / 2 + 2 * BLOCK


def test_turning_peaks_down_takes_few_arrays_of_the_length(song: Audio) -> None:
    """Peaks, and the needed and the lowest gain in fp64; then the result."""
    loud = Audio(song.samples * np.float32(1.2), song.sample_rate)
    assert peak(lambda: loudness.within_full_scale(loud)) < 2.5 * song.samples.nbytes + BLOCK


@pytest.mark.parametrize("tags", [None, Tags({"graph": "text2music"}, "song")])
def test_a_file_is_held_once(song: Audio, tmp_path: Path, tags: Tags | None) -> None:
    size = song.samples.size * 2

    def write_it() -> None:
        write.audio(tmp_path / "song.wav", song, tags=tags, sample_rate=44_100)

    assert peak(write_it) < 1.2 * size + BLOCK


@pytest.mark.parametrize("rows", [1, 7, 4096])
@pytest.mark.parametrize("rates", [(44_100, 48_000), (48_000, 44_100), (1, 4), (48_000, 16_000), (101, 100)])
def test_blocks_of_any_size_give_the_same_samples(
    rates: tuple[int, int], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = np.random.default_rng(1).standard_normal((2, 9_001)).astype(np.float32)
    whole = resample.resample(samples, *rates)
    monkeypatch.setattr(resample, "ROWS_PER_PRODUCT", rows)
    np.testing.assert_allclose(resample.resample(samples, *rates), whole, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("first", "end"), [(0, 5), (-3, 2), (3, 9), (-2, 8), (-4, -1), (7, 9), (5, 5)])
def test_a_piece_has_zeros_where_there_are_no_samples(first: int, end: int) -> None:
    samples: FloatArray = np.arange(10, dtype=np.float32).reshape(2, 5) + 1
    padded = np.pad(samples, ((0, 0), (10, 10)))
    np.testing.assert_array_equal(piece(samples, first, end), padded[:, 10 + first : 10 + end])


@pytest.mark.parametrize("length", [44, 45])
def test_strings_follow_the_samples(length: int) -> None:
    wav = b"RIFF" + bytes(4) + b"WAVE" + bytes(length - 12)
    made = with_info(wav, {"ISFT": "x"})
    assert int.from_bytes(made[4:8], "little") == len(made) - 8
    assert made[8:length] == wav[8:]
    assert made[length:].lstrip(b"\0").startswith(b"LIST")
