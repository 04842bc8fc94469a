"""Fingerprints: what counts as the same song, and that thousands are compared in no time."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from acestep_flows.audio import read, write
from acestep_flows.bulk.fingerprint import SAME, duplicates, fingerprint, similarity
from acestep_flows.values import Audio
from tests.bulk.songs import chords


def test_unrelated_songs_differ_in_half_of_their_bits() -> None:
    prints = [fingerprint(chords(seed)) for seed in range(12)]
    pairs = [similarity(one, other) for number, one in enumerate(prints) for other in prints[:number]]
    assert max(pairs) < SAME - 0.05
    assert np.mean(pairs) == pytest.approx(0.53, abs=0.05)


@pytest.mark.parametrize("format", ["mp3", "ogg", "flac"])
def test_encoding_changes_few_bits(format: str, tmp_path: Path) -> None:
    song, path = chords(1), tmp_path / f"song.{format}"
    write.audio(path, song)
    assert similarity(fingerprint(song), fingerprint(read.audio(path))) > 0.9


@pytest.mark.parametrize("moved", [0, 689, 1378, 5000, 10_000])
def test_level_and_shift_do_not_hide_a_copy(moved: int) -> None:
    song = chords(2)
    copy = Audio(0.2 * song.samples[:, moved:], song.sample_rate)
    assert similarity(fingerprint(song), fingerprint(copy)) > SAME


def test_a_part_is_another_song() -> None:
    song = chords(3)
    half = Audio(song.samples[:, : song.samples.shape[1] // 2], song.sample_rate)
    assert similarity(fingerprint(song), fingerprint(half)) == 0


@pytest.mark.parametrize("samples", [np.zeros((2, 44_100)), np.zeros((1, 0)), np.ones((1, 50))])
def test_silence_has_no_fingerprint(samples: np.ndarray) -> None:
    print = fingerprint(Audio(samples.astype(np.float32), 44_100))
    assert print == ""
    assert duplicates([("one", print), ("other", print)]) == []


def test_copies_are_found_with_the_earliest_they_are_like() -> None:
    songs = {f"song {seed}": chords(seed) for seed in range(6)}
    prints = [(name, fingerprint(song)) for name, song in songs.items()]
    louder = Audio(songs["song 1"].samples * 1.5, songs["song 1"].sample_rate)
    prints += [("louder", fingerprint(louder)), ("again", fingerprint(louder))]
    found = duplicates(prints)
    assert [(copy.id, copy.of) for copy in found] == [("louder", "song 1"), ("again", "song 1")]
    assert min(copy.similarity for copy in found) > 0.95


def test_many_songs() -> None:
    """Two thousand of half a minute, one of them twice; and five hundred that are all the same."""
    draw = np.random.default_rng(0)
    prints = [
        (str(song), base64.b64encode(draw.integers(0, 2**32, 240, dtype=np.uint32).tobytes()).decode())
        for song in range(2000)
    ]
    prints[1700] = ("1700", prints[3][1])
    assert [(copy.id, copy.of) for copy in duplicates(prints)] == [("1700", "3")]
    assert len(duplicates([(str(song), prints[0][1]) for song in range(500)])) == 499
