from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from acestep_flows.errors import CheckpointError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.stages.encode_lyrics import EncodeLyrics, timed_lines
from acestep_flows.stages.registry import stages
from tests.stages.running import run

SONG = "[verse]\nWalking down the empty street\n"


def test_three_forms_of_the_same_length(small: Checkpoint) -> None:
    lyrics = run("encode_lyrics", small, {"lyrics": SONG}).lyrics
    assert len(lyrics.ids) == len(lyrics.mask) == len(lyrics.states) > 10
    assert lyrics.mask.all()
    for other in (lyrics.weak, lyrics.blank):
        assert np.abs(lyrics.states - other).max() > 1e-3


def test_empty_lyrics_are_one_masked_token(small: Checkpoint) -> None:
    lyrics = run("encode_lyrics", small, {"lyrics": ""}).lyrics
    assert lyrics.ids.tolist() == [0]
    assert lyrics.mask.tolist() == [0]


def test_lines_with_time_stamps_keep_their_times() -> None:
    lyrics = "[ar:somebody]\n[00:01.50][01:10]la la\n[00:20:25] rain\nno time\n"
    assert timed_lines(lyrics) == [(1.5, "la la"), (20.25, "rain"), (70.0, "la la")]
    assert timed_lines("[verse]\nla") == timed_lines("") == []


def test_an_adapter_changes_the_states_and_the_key(small: Checkpoint) -> None:
    plain = run("encode_lyrics", small, {"lyrics": SONG}).lyrics
    voiced = run("encode_lyrics", small, {"lyrics": SONG, "adapter": "voice"}).lyrics
    muted = run("encode_lyrics", small, {"lyrics": SONG, "adapter": "voice", "adapter_weight": 0}).lyrics
    assert np.abs(plain.states - voiced.states).max() > 1e-3
    np.testing.assert_allclose(plain.states, muted.states, atol=1e-6)
    stage = stages()["encode_lyrics"]
    keys = [stage.weights(small, stage.Params(**extra)) for extra in ({}, {"adapter": "voice"})]
    assert keys[0] != keys[1]


def test_an_unknown_adapter_is_named_with_those_there_are(small: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match=r"no weights for adapter 'vioce' \(allowed: voice"):
        run("encode_lyrics", small, {"lyrics": SONG, "adapter": "vioce"})


def test_unusable_lyrics_are_refused_before_weights_are_read() -> None:
    with pytest.raises(ValidationError, match="at most 100000 characters"):
        EncodeLyrics.Params(lyrics="a" * 100_001)


def test_what_was_left_out_is_told(small: Checkpoint) -> None:
    lyrics = run("encode_lyrics", small, {"lyrics": "la la la\n" * 2000}).lyrics
    assert len(lyrics.ids) == 4096
    assert "4096 tokens" in lyrics.skipped[0]
