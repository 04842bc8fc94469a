"""Sampling as a stage: tasks, conditions, adapters and control."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from acestep_flows.errors import Cancelled, CheckpointError, InputError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.stages.contract import Watch
from acestep_flows.stages.registry import stages
from acestep_flows.values import Latents
from tests.stages.material import latents
from tests.stages.running import run


@pytest.fixture(scope="module")
def given(small: Checkpoint) -> dict[str, Any]:
    return {
        "prompt": run("encode_prompt", small, {"tags": "pop, drums"}).prompt,
        "lyrics": run("encode_lyrics", small, {"lyrics": "[verse]\nhello"}).lyrics,
        "noise": run("init_noise", small, {"seed": 5, "duration": 2.0}).noise,
    }


def sample(small: Checkpoint, given: dict[str, Any], watch: Watch | None = None, **extra: Any) -> Any:
    ports = {name: extra.pop(name) for name in ("reference", "control", "noise") if name in extra}
    return run("sample", small, {"steps": 4, **extra}, watch or Watch(), **(given | ports))


def test_the_same_inputs_give_the_same_song(small: Checkpoint, given: dict[str, Any]) -> None:
    song = sample(small, given)
    assert song.latents.frames == 21
    assert song.latents == sample(small, given).latents
    assert song.report.entries["task"] == "text2music"
    assert song.report.entries["seed"] == 5


def test_what_cannot_be_read_is_in_the_report(small: Checkpoint, given: dict[str, Any]) -> None:
    prompt = run("encode_prompt", small, {"tags": "drums, " * 500}).prompt
    lyrics = run("encode_lyrics", small, {"lyrics": "[Verse 1]\nமழை"}).lyrics
    song = run("sample", small, {"steps": 1}, Watch(), **(given | {"prompt": prompt, "lyrics": lyrics}))
    tags, renamed, unsung = song.report.entries["warnings"]
    assert tags.startswith("tags: the model reads 256 tokens")
    assert renamed == "[Verse 1] is read as [verse]"
    assert unsung.startswith("line 2: 3 of 3 letters cannot be sung")


def test_a_variation_moves_from_the_original_to_another_song(small: Checkpoint, given: dict[str, Any]) -> None:
    def varied(variance: float) -> Latents:
        noise = run("init_noise", small, {"seed": 5, "duration": 2.0, "variance": variance, "retake_seed": 9}).noise
        found: Latents = sample(small, given, noise=noise).latents
        return found

    other = run("init_noise", small, {"seed": 9, "duration": 2.0}).noise
    np.testing.assert_allclose(varied(0.0).array, sample(small, given).latents.array, atol=1e-5)
    np.testing.assert_allclose(varied(1.0).array, sample(small, given, noise=other).latents.array, atol=1e-4)


def test_a_reference_at_full_strength_is_the_song(small: Checkpoint, given: dict[str, Any]) -> None:
    reference = latents(21, seed=3)
    kept = sample(small, given, reference=reference, strength=1.0)
    assert kept.latents == reference
    assert kept.report.entries["task"] == "audio2audio"
    assert sample(small, given, reference=reference, strength=0.5).latents != reference


def test_an_adapter_changes_the_song_by_its_weight_and_leaves_the_next_alone(
    small: Checkpoint, given: dict[str, Any]
) -> None:
    plain = sample(small, given).latents
    voiced = sample(small, given, adapter="voice").latents
    assert np.abs(voiced.array - plain.array).max() > 1e-3
    np.testing.assert_allclose(
        sample(small, given, adapter="voice", adapter_weight=0).latents.array, plain.array, atol=1e-5
    )
    assert sample(small, given).latents == plain


def test_control_follows_its_track(small: Checkpoint, given: dict[str, Any]) -> None:
    plain = sample(small, given).latents
    one, other = (sample(small, given, control=latents(21, seed), control_branch="stemgen").latents for seed in (1, 2))
    assert len({plain, one, other}) == 3
    silent = sample(small, given, control=latents(21, 1), control_branch="stemgen", control_scale=0).latents
    np.testing.assert_allclose(silent.array, plain.array, atol=1e-5)


def test_control_needs_both_halves_and_the_right_length(small: Checkpoint, given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="belong together"):
        sample(small, given, control=latents(21))
    with pytest.raises(InputError, match="control: 3.7 s long"):
        sample(small, given, control=latents(40), control_branch="stemgen")
    with pytest.raises(CheckpointError, match="none are published for stemgen"):
        sample(small, given, control=latents(21), control_branch="choir")


def test_weights_that_a_song_depends_on(small: Checkpoint) -> None:
    stage = stages()["sample"]
    params = [
        {},
        {"adapter": "voice"},
        {"control_branch": "stemgen"},
        {"adapter": "voice", "control_branch": "stemgen"},
    ]
    digests = [stage.weights(small, stage.Params(**extra)) for extra in params]
    assert [len(found) for found in digests] == [1, 2, 2, 3]
    assert len(set(digests)) == 4


class Stop(Watch):
    def __init__(self, after: int) -> None:
        self.after, self.seen = after, list[tuple[int, int]]()

    def step(self, item: int, done: int, total: int) -> None:
        self.seen.append((done, total))
        if done == self.after:
            raise Cancelled("enough")


def test_progress_and_cancellation_at_step_boundaries(small: Checkpoint, given: dict[str, Any]) -> None:
    watch = Stop(after=2)
    with pytest.raises(Cancelled, match="enough"):
        sample(small, given, watch=watch)
    assert watch.seen == [(0, 4), (1, 4), (2, 4)]
