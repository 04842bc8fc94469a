"""Estimates agree with the truth of synthetic clips, and not with the truth of other clips."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from acestep_flows.training.synthesis import Piece, compose, render
from benchmarks.nano import listening

CLIPS = 16


@lru_cache(maxsize=1)
def pieces() -> list[Piece]:
    return [render(compose(seed + 700, seconds=5.94)) for seed in range(CLIPS)]


def test_tempo_agrees_with_the_own_truth_only() -> None:
    estimates = [listening.tempo(piece.mix) for piece in pieces()]
    targets = [piece.truth.tempo for piece in pieces()]
    right = np.mean([listening.same_tempo(bpm, target) for bpm, target in zip(estimates, targets, strict=True)])
    chance = np.mean([listening.same_tempo(bpm, targets[index - 7]) for index, bpm in enumerate(estimates)])
    assert right >= 0.9
    assert chance <= 0.45
    near = [abs(listening.tempo_near(piece.mix, piece.truth.tempo) / piece.truth.tempo - 1) for piece in pieces()]
    assert np.median(near) < 0.01


def test_scale_agrees_with_the_own_truth_only() -> None:
    scales = [listening.scale_of(piece.truth.key, piece.truth.mode) for piece in pieces()]
    ranked = [listening.scale_ranking(piece.mix)[:2] for piece in pieces()]
    assert np.mean([scale in best for scale, best in zip(scales, ranked, strict=True)]) >= 0.9
    assert np.mean([scales[index - 7] in best for index, best in enumerate(ranked)]) <= 0.45
    shares = [listening.scale_share(piece.mix, piece.truth.key, piece.truth.mode) for piece in pieces()]
    assert np.mean(shares) > 0.75


def test_styles_are_distinguished() -> None:
    fitting = [render(compose(seed, seconds=5.94)) for seed in range(32)]
    centroids = listening.Centroids.fit([(piece.truth.style, piece.mix) for piece in fitting])
    right = [centroids.nearest(piece.mix) == piece.truth.style for piece in pieces()]
    assert np.mean(right) > 0.7  # four clips a style; more clips give better centroids
    assert centroids.nearest(pieces()[0].mix, among=["jazz", "rock"]) in ("jazz", "rock")


def test_drums_have_bright_onsets_and_other_stems_not() -> None:
    band = [piece for piece in pieces() if piece.truth.drums]
    with_drums = np.mean([listening.bright_onsets(piece.mix) for piece in band])
    without = np.mean([listening.bright_onsets(piece.sum("bass", "chords", "lead", "vocal")) for piece in band])
    assert with_drums > 4 * without


def test_stems_of_one_piece_have_correlated_onsets() -> None:
    sung = [render(compose(seed, seconds=5.94, vocal="male", drums=True)) for seed in range(8)]
    backings = [piece.sum("drums", "bass", "chords") for piece in sung]
    own = [listening.onset_correlation(a.stems["vocal"], b) for a, b in zip(sung, backings, strict=True)]
    foreign = [listening.onset_correlation(piece.stems["vocal"], backings[i - 3]) for i, piece in enumerate(sung)]
    assert np.mean(own) > 0.2
    assert np.mean(foreign) < 0.12


def test_the_same_melody_has_more_similar_chroma() -> None:
    piece, other = pieces()[0], pieces()[1]
    assert listening.chroma_correlation(piece.mix, 0.3 * piece.mix) > 0.99
    assert listening.chroma_correlation(piece.mix, piece.sum("bass", "chords", "lead", "vocal")) > 0.6
    assert listening.chroma_correlation(piece.mix, other.mix) < 0.5


def test_mel_distance_counts_in_log_amplitude() -> None:
    piece = pieces()[0]
    assert listening.mel_distance(piece.mix, piece.mix) == 0
    assert listening.mel_distance(piece.mix, np.float32(0.5) * piece.mix) == pytest.approx(np.log(2), abs=0.03)


def test_faults_are_found() -> None:
    assert all(value < 0.01 for name, value in listening.faults(pieces()[0].mix).items() if name != "width")
    broken = np.zeros((2, 44100), np.float32)
    broken[:, :22050] = 1.0
    measured = listening.faults(broken)
    assert measured["clipped"] == pytest.approx(0.5, abs=0.01)
    assert measured["silent"] == pytest.approx(0.5, abs=0.05)
    assert measured["dc"] == pytest.approx(0.5)
    assert measured["width"] == 0


def test_silence_is_handled() -> None:
    silence = np.zeros((2, 3 * 44100), np.float32)
    assert listening.bright_onsets(silence) == 0
    assert listening.onset_correlation(silence, silence) == 0
    assert listening.TEMPOS[0] <= listening.tempo(silence) <= listening.TEMPOS[1]
    assert len(listening.scale_ranking(silence)) == 12


def test_tempi_fold_by_octaves() -> None:
    assert listening.same_tempo(60, 120)
    assert listening.same_tempo(123, 120)
    assert not listening.same_tempo(90, 120)
