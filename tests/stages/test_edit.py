from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from acestep_flows.model.checkpoint import Checkpoint
from tests.stages.material import latents
from tests.stages.running import run

SOURCE = latents(20, seed=4)


def edit(small: Checkpoint, words: str, **params: Any) -> Any:
    prompt = run("encode_prompt", small, {"tags": "pop"}).prompt
    source, target = (run("encode_lyrics", small, {"lyrics": text}).lyrics for text in ("[verse]\nhello", words))
    ports = {"source_prompt": prompt, "source_lyrics": source, "prompt": prompt, "lyrics": target}
    return run("edit", small, {"steps": 5, "seed": 3, **params}, source=SOURCE, **ports)


def test_other_words_change_the_song_and_the_change_is_stated(small: Checkpoint) -> None:
    edited = edit(small, "[verse]\ngoodbye")
    assert edited.latents.frames == SOURCE.frames
    assert edited.latents != SOURCE
    assert edited.report.entries["locality"]["inside"]["relative"] > 0
    assert edited.report.entries["locality"]["outside"] is None


def test_the_same_words_leave_the_song_alone_where_nothing_is_guided(small: Checkpoint) -> None:
    assert edit(small, "[verse]\nhello", guidance_scale=1).latents == SOURCE


def test_more_steps_left_out_change_less(small: Checkpoint) -> None:
    gentle, bold = (edit(small, "[verse]\ngoodbye", minimum=minimum) for minimum in (0.8, 0.2))
    change = [song.report.entries["locality"]["inside"]["relative"] for song in (gentle, bold)]
    assert change[0] < change[1]


def test_a_minimum_above_the_maximum(small: Checkpoint) -> None:
    with pytest.raises(ValidationError, match=r"minimum 0.8 is above maximum 0.2"):
        edit(small, "a", minimum=0.8, maximum=0.2)
