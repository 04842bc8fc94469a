"""Voices in even time, tempos beyond the style's, and the written syllables of the words."""

from __future__ import annotations

import pytest

from acestep_flows.training.synthesis import compose
from acestep_flows.training.synthesis.lexicon import WORDS, written_syllables
from acestep_flows.training.synthesis.styles import STYLES


@pytest.mark.parametrize(("tempo", "beats"), [(60, 0.5), (120, 0.5), (140, 0.5), (141, 1.0), (180, 1.0)])
def test_syllables_come_at_even_distances_from_the_start_of_lines(tempo: int, beats: float) -> None:
    score = compose(11, seconds=8.0, tempo=tempo, vocal="male", steady_voice=True, style="rock")
    distance = beats * 60 / tempo
    places = [start / distance for _, start, _ in score.truth.syllables]
    assert places == pytest.approx([round(place) for place in places], abs=1e-6)
    lines = [line for line in score.lyrics.splitlines() if line and not line.startswith("[")]
    counts = [sum(len(WORDS[word]) for word in line.split()) for line in lines]
    expected = [8 * line + syllable for line, count in enumerate(counts) for syllable in range(count)]
    assert [round(place) for place in places] == expected[: len(places)]
    assert max(counts) <= 7


def test_an_instrumental_has_no_syllables() -> None:
    assert not compose(3, vocal="none", steady_voice=True).truth.syllables


def test_tempos_leave_the_style_by_the_spread() -> None:
    low, high = STYLES["house"].tempos
    usual = [compose(seed, seconds=1.0, style="house").truth.tempo for seed in range(60)]
    wide = [compose(seed, seconds=1.0, style="house", tempo_spread=0.3).truth.tempo for seed in range(60)]
    assert low <= min(usual)
    assert max(usual) <= high
    assert min(wide) < 0.85 * low
    assert max(wide) > 1.15 * high
    assert min(wide) >= 60
    assert max(wide) <= 180


def test_every_word_consists_of_written_syllables() -> None:
    pieces = set(written_syllables())
    for word, codes in WORDS.items():
        cuts = [(word.lower(),)] if len(codes) == 1 else [
            (word[:place], word[place:]) for place in range(1, len(word))
        ]  # fmt: skip
        assert any(set(cut) <= pieces for cut in cuts), word
