"""The labels of a synthetic clip match its audio: stems, loudness, beats, choices, words."""

from __future__ import annotations

import numpy as np
import pytest

from acestep_flows.audio import loudness
from acestep_flows.errors import InputError
from acestep_flows.training.synthesis import STEMS, compose, render, vocabulary
from acestep_flows.training.synthesis.compose import TEMPOS
from acestep_flows.training.synthesis.instruments import INSTRUMENTS
from acestep_flows.training.synthesis.styles import STYLES
from acestep_flows.training.synthesis.words import split
from acestep_flows.values import Audio


def test_the_same_seed_gives_the_same_clip() -> None:
    first, again, other = render(compose(5)), render(compose(5)), render(compose(6))
    assert first.truth == again.truth
    assert np.array_equal(first.mix, again.mix)
    assert not np.array_equal(first.mix, other.mix)


@pytest.mark.parametrize("style", STYLES)
def test_clips_are_finite_and_not_clipped_and_have_the_labelled_loudness(style: str) -> None:
    for seed in range(2):
        piece = render(compose(seed, style=style))
        mix = piece.mix
        assert mix.shape == (2, round(8.9 * 44100))
        assert mix.dtype == np.float32
        assert np.isfinite(mix).all()
        assert np.abs(mix).max() <= 0.96
        assert abs(float(mix.mean())) < 3e-3
        measured = loudness.integrated(Audio(mix, 44100))
        assert measured == pytest.approx(piece.truth.loudness, abs=1.5)


def test_stems_add_up_and_match_the_truth() -> None:
    for seed in range(8):
        piece = render(compose(seed))
        total = np.zeros_like(piece.mix)
        for name in STEMS:
            total += piece.stems.get(name, 0.0)
        assert np.array_equal(total, piece.mix)
        assert set(piece.stems) == set(piece.truth.parts)
        assert ("drums" in piece.stems) is piece.truth.drums
        assert ("vocal" in piece.stems) is (piece.truth.vocal is not None)
        assert all(np.abs(stem).max() > 0.003 for stem in piece.stems.values())


def test_tags_and_lyrics_are_in_the_vocabulary_and_match_the_truth() -> None:
    known = set(vocabulary())
    for seed in range(80):
        score = compose(seed, seconds=6.0 + seed % 20)
        text = render(score).tags if seed < 10 else ""
        for word in split(f"{text} {score.lyrics}"):
            assert word in known or word in ",[]\n", word
        if text:
            assert f"{score.truth.tempo} bpm" in text
            assert ("drums" in text.split(", ")) is score.truth.drums
        assert bool(score.lyrics) is (score.truth.vocal is not None)


def test_given_choices_are_used() -> None:
    score = compose(
        3,
        style="jazz",
        tempo=97,
        key=4,
        mode="minor",
        instruments=["flute", "sub bass"],
        drums=False,
        vocal="none",
        seconds=12.0,
    )
    truth = score.truth
    assert (truth.style, truth.tempo, truth.key, truth.mode) == ("jazz", 97, 4, "minor")
    assert truth.instruments == ("sub bass", "flute")
    assert not truth.drums
    assert truth.vocal is None
    assert compose(3, style="jazz", vocal="female").truth.vocal == "female"


def test_fixing_one_choice_does_not_change_the_others() -> None:
    free, fixed = compose(11).truth, compose(11, tempo=100).truth
    assert (free.style, free.key, free.mode, free.vocal) == (fixed.style, fixed.key, fixed.mode, fixed.vocal)


def test_beats_are_on_the_grid() -> None:
    aligned = compose(2, tempo=120, seconds=8.0).truth
    assert aligned.beats == pytest.approx(np.arange(16) * 0.5, abs=1e-5)
    anywhere = compose(2, tempo=120, seconds=8.0, aligned=False).truth
    assert np.diff(anywhere.beats) == pytest.approx(0.5, abs=1e-5)
    assert 0 <= anywhere.beats[0] < 0.5


def test_long_pieces_have_a_form() -> None:
    truth = compose(4, seconds=60.0, tempo=120).truth
    names = [name for name, _, _ in truth.sections]
    assert names[:3] == ["intro", "verse", "chorus"]
    assert names[-1] == "outro"
    ends = [end for _, _, end in truth.sections]
    assert [start for _, start, _ in truth.sections[1:]] == ends[:-1]
    assert ends[-1] == pytest.approx(60.0)


@pytest.mark.parametrize(
    "choice",
    [
        {"style": "polka"}, {"tempo": TEMPOS[1] + 1}, {"mode": "dorian"}, {"instruments": ["kazoo"]},
        {"vocal": "choir"}, {"seconds": 0.0}, {"instruments": ["sub bass", "synth bass"]},
    ],
)  # fmt: skip
def test_invalid_choices_are_refused(choice: dict[str, object]) -> None:
    with pytest.raises(InputError):
        compose(1, **choice)  # type: ignore[arg-type]


def test_every_instrument_has_its_level_over_its_range() -> None:
    from acestep_flows.training.synthesis.instruments import note

    for name, instrument in INSTRUMENTS.items():
        for pitch in (instrument.low, instrument.high):
            sound = note(name, pitch)
            assert np.isfinite(sound).all(), name
            assert np.sqrt(np.mean(sound[:13230] ** 2)) == pytest.approx(0.1, rel=0.05), name
