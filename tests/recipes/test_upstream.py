"""v1's parameter files become graphs and inputs of ours, and what is lost is told."""

from __future__ import annotations

from typing import Any

import pytest

from acestep_flows.errors import InputError
from acestep_flows.recipes.stored_recipe import FileInput
from acestep_flows.recipes.upstream import NO_SOURCE_TEXT, is_upstream, read_upstream
from acestep_flows.values import Span, frames_from_seconds
from tests.recipes.v1_files import EDITED, NEW, OLD, RETAKE_SEED, SAMPLER, SEED, TEXT

SOURCE = FileInput("audio", "", ("./outputs/song.wav",))


def read(**changes: Any) -> tuple[str, dict[str, Any]]:
    recipe = read_upstream({**NEW, **changes}, "song_input_params.json")
    return recipe.graph, dict(recipe.inputs)


def warnings(**changes: Any) -> tuple[str, ...]:
    return read_upstream({**NEW, **changes}, "song_input_params.json").warnings


@pytest.mark.parametrize("content", [OLD, NEW, {**NEW, "task": "text2music", "oss_steps": None}])
def test_text_to_music_of_both_forms(content: dict[str, Any]) -> None:
    recipe = read_upstream(content, "song_input_params.json")
    assert recipe.graph == "text2music"
    assert recipe.inputs == {**TEXT, "duration": 12.5, "seed": SEED, **SAMPLER}
    assert recipe.seeds == {"seed": SEED}
    assert recipe.warnings == ()


def test_a_retake_has_its_own_seed_and_variance() -> None:
    graph, inputs = read(task="retake", retake_variance=0.2)
    assert graph == "retake"
    assert inputs == {**TEXT, "duration": 12.5, "seed": SEED, "retake_seed": RETAKE_SEED, "variance": 0.2, **SAMPLER}


def test_a_repaint() -> None:
    graph, inputs = read(task="repaint", repaint_start=2, repaint_end=4.5, src_audio_path="./outputs/song.wav")
    assert graph == "repaint"
    wanted = {"source": SOURCE, "span": Span(2.0, 4.5), "seed": SEED, "retake_seed": RETAKE_SEED, "variance": 0.5}
    assert inputs == {**TEXT, **wanted, **SAMPLER}


def test_an_extension_and_what_v1_made_of_it() -> None:
    """v1 adds the left part, and takes it away from the right one again."""
    duration = 12.4458
    graph, inputs = read(
        task="extend",
        repaint_start=0,
        repaint_end=duration + 5,
        audio_duration=duration,
        src_audio_path=SOURCE.paths[0],
    )
    assert graph == "extend"
    assert inputs["left"] == 0
    assert frames_from_seconds(inputs["right"]) == frames_from_seconds(duration + 5) - frames_from_seconds(duration)
    changes: dict[str, Any] = {
        "task": "extend",
        "repaint_start": -2,
        "repaint_end": duration + 5,
        "audio_duration": duration,
    }
    _, both = read(**changes, retake_variance=1.0)
    assert frames_from_seconds(both["left"]) == 21
    assert frames_from_seconds(both["right"]) == frames_from_seconds(inputs["right"]) - 21
    assert warnings(**changes, retake_variance=1.0) == (
        f"repaint_end {duration + 5:g}: v1 added 21 frames fewer on the right than were asked for",
    )


def test_frames_decide_whether_a_repaint_is_an_extension() -> None:
    inside: dict[str, Any] = {"repaint_start": 3, "repaint_end": 12.5, "audio_duration": 12.5}
    assert read(task="extend", **inside)[0] == "repaint"
    assert read(task="repaint", **(inside | {"repaint_end": 14}))[0] == "extend"
    # The end lies within the last frame, past what a span may reach.
    assert read(task="repaint", **(inside | {"repaint_end": 12.52}))[1]["span"].end <= 12.5


def test_an_edit_has_the_target_and_asks_for_what_the_song_was() -> None:
    graph, inputs = read(**EDITED)
    assert graph == "edit"
    assert inputs == {
        "source": SOURCE,
        "new_tags": "big band",
        "new_lyrics": "[verse]\nOther words",
        "minimum": 0.2,
        "maximum": 0.4,
        "averages": 2,
        "seed": RETAKE_SEED,
        **SAMPLER,
    }
    assert warnings(**EDITED) == (NO_SOURCE_TEXT,)


@pytest.mark.parametrize("task", ["text2music", "audio2audio"])
def test_audio_to_audio_is_implied_by_its_reference(task: str) -> None:
    changes: dict[str, Any] = {"audio2audio_enable": True, "ref_audio_input": "ref.mp3", "ref_audio_strength": 0.7}
    graph, inputs = read(task=task, **changes)
    assert graph == "audio2audio"
    reference = FileInput("audio", "", ("ref.mp3",))
    assert inputs == {**TEXT, "reference": reference, "strength": 0.7, "seed": SEED, **SAMPLER}
    assert read(audio2audio_enable=True)[0] == "text2music"  # without a reference


def test_a_lora_is_an_adapter() -> None:
    _, inputs = read(lora_name_or_path="ACE-Step/ACE-Step-v1-chinese-rap-LoRA", lora_weight=0.8)
    assert (inputs["adapter"], inputs["adapter_weight"]) == ("ACE-Step/ACE-Step-v1-chinese-rap-LoRA", 0.8)
    assert "adapter" not in read()[1]


def test_oss_steps_come_as_a_list_or_as_text() -> None:
    assert read(oss_steps=[2, 5, 9])[1]["oss_steps"] == [2, 5, 9]
    assert read(oss_steps="2, 5,9")[1]["oss_steps"] == [2, 5, 9]
    assert "oss_steps" not in read(oss_steps="")[1]


def test_the_file_of_a_batch_has_one_of_its_seeds() -> None:
    batch: dict[str, Any] = {
        "actual_seeds": [11, 12, 13],
        "retake_seeds": [21, 22, 23],
        "audio_path": "./outputs/output_2025_1.flac",
    }
    assert read(**batch)[1]["seed"] == 12
    assert read(task="retake", **batch)[1]["retake_seed"] == 22
    assert warnings(**batch) == ("actual_seeds: this is one song of 3; the others have 11, 13",)
    assert warnings(actual_seeds=[5, 5]) == ()  # one seed, shared by the whole batch
    assert read(actual_seeds="7")[1]["seed"] == 7
    assert read(actual_seeds=7)[1]["seed"] == 7


def test_what_cannot_be_taken_over_is_told() -> None:
    assert warnings(audio_duration=-1) == (
        "audio_duration -1: v1 drew a length and did not write which; give duration",
    )
    assert warnings(format="mp3") == ("format mp3: give --format, or format= to save()",)
    assert warnings(shift=3.0, mood="x") == ("not parameters of v1: shift, mood",)
    assert warnings(task="extend", repaint_end=20, retake_variance=0.4) == (
        "retake_variance 0.4: extend has none, new parts are wholly new",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "remix"}, "task: no task of v1 'remix'"),
        ({"task": 3}, "song_input_params.json, task: 3 .*text"),
        ({"prompt": ["a"]}, "prompt: a list of 1"),
        ({"audio_duration": "long"}, "audio_duration: text 'long' .*a number"),
        ({"audio_duration": True}, "audio_duration: true"),
        ({"actual_seeds": ["a"]}, "actual_seeds: a list of 1 .*whole numbers"),
        ({"actual_seeds": {"a": 1}}, "actual_seeds: "),
        ({"oss_steps": [float("inf")]}, "oss_steps"),
        ({"oss_steps": [2.5]}, "oss_steps"),
        ({"task": "repaint", "repaint_start": 5, "repaint_end": 3}, "span: "),
    ],
)
def test_a_damaged_file_is_one_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(**changes)


@pytest.mark.parametrize("content", [None, [], {}, {"prompt": "a"}, {"infer_step": 3}, {**NEW, "recipe": 1}])
def test_other_json_is_not_taken_for_v1(content: Any) -> None:
    assert not is_upstream(content)
