"""Every shipped graph checks and runs, and does what its summary says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest

from acestep_flows.audio.measure import Measurement
from acestep_flows.errors import CheckpointError, InputError
from acestep_flows.graph.checking.check import check
from acestep_flows.graph.execution.result import Result
from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.language.parse import parse
from acestep_flows.graph.library import Library, shipped
from acestep_flows.graph.planning.layout import plan
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.stages.registry import stages
from acestep_flows.values import Audio, Latents, Span, frames_from_seconds
from tests.stages.material import tone

NAMES = sorted(path.stem for path in shipped().glob("*.yaml"))
SOURCE = tone(2.0)
WORDS = {"tags": "pop, drums", "lyrics": "[verse]\nhello"}
FAST = {"steps": 2}


@dataclass
class Song:
    """A run that is over, with its outputs fetched."""

    outputs: Mapping[str, Any]
    result: Result

    def ran(self) -> Counter[str]:
        """How often each stage was computed."""
        return Counter(node.stage for node in self.result.nodes.values() if node.source == "computed")


class Player:
    """Runs shipped graphs on one small checkpoint."""

    def __init__(self, runner: LocalRunner) -> None:
        self.runner = runner

    def play(self, name: str, **inputs: Any) -> Song:
        async def run() -> Song:
            scheduler = Scheduler(stages(), self.runner)
            library = Library(working=None)
            made = plan(library.load(name), inputs, registry=stages(), find=library.nested)
            result = await run_plan(scheduler, made)
            return Song(await self.runner.fetch(result.outputs), result)

        return asyncio.run(run())


@pytest.fixture(scope="module")
def player(small: Checkpoint) -> Iterator[Player]:
    with LocalRunner(small) as runner:
        yield Player(runner)


def test_the_graphs_of_the_mission_are_all_there() -> None:
    wanted = """text2music retake repaint extend edit-lyrics remix audio2audio batch-takes lyric-chain variation-in-span
        lyric2vocal text2samples rap stemgen stem-set singing2accompaniment long-form best-of"""
    assert set(wanted.split()) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_graph_checks_and_says_what_it_is_for(name: str) -> None:
    library = Library(working=None)
    graph = library.load(name)
    assert [str(problem) for problem in check(graph, stages(), library.nested)] == []
    assert graph.name == name
    assert len(graph.summary) > 20


@pytest.mark.parametrize("name", NAMES)
def test_no_graph_takes_empty_tags(name: str) -> None:
    declared = Library(working=None).load(name).inputs
    shortest = {each: declared[each].shortest for each in ("tags", "new_tags", "instrument") if each in declared}
    assert set(shortest.values()) <= {1}, shortest


def test_best_of_offers_every_measurement_that_is_a_number() -> None:
    wanted = {field.name for field in fields(Measurement) if field.type != "str | None"}
    offered = set(Library(working=None).load("best-of").inputs["by"].choices)
    assert offered == wanted - {"seconds", "sample_rate", "channels"}  # the same for every take


@pytest.mark.parametrize("tags", [" ", "a\x00b", "x" * 10_001])
def test_unusable_tags_are_refused_when_the_run_is_planned(tags: str) -> None:
    library = Library(working=None)
    with pytest.raises(InputError, match="^node prompt: tags is text .*; allowed: |^tags: a null character"):
        plan(library.load("text2music"), {"tags": tags}, registry=stages(), find=library.nested)


@pytest.mark.parametrize("port", ["adapter: /etc", "adapter: ../up", "control_branch: ~/mine"])
def test_a_graph_cannot_name_a_folder(port: str) -> None:
    text = f"""\
graph: strangers
version: 1
nodes:
  prompt: {{stage: encode_prompt, with: {{tags: pop}}}}
  words: {{stage: encode_lyrics, with: {{lyrics: ""}}}}
  noise: {{stage: init_noise, with: {{duration: 1, seed: 1}}}}
  take: {{stage: sample, with: {{prompt: $prompt, lyrics: $words, noise: $noise, {port}}}}}
outputs: {{latents: $take.latents}}
"""
    with pytest.raises(InputError, match="^node take: .* is the path '.*', written in a graph"):
        plan(parse(text, "strangers.yaml"), {}, registry=stages(), find=Library(working=None).nested)


def test_text2music_lasts_as_long_as_asked_and_says_how_it_was_made(player: Player) -> None:
    song = player.play("text2music", **WORDS, **FAST, duration=2.0, seed=7)
    assert song.outputs["audio"].seconds == pytest.approx(2.0, abs=0.1)
    assert song.outputs["latents"].frames == frames_from_seconds(2.0)
    assert song.outputs["report"].entries["seed"] == 7


def test_text2music_draws_a_seed_when_none_is_given(player: Player) -> None:
    one, other = (player.play("text2music", **WORDS, **FAST, duration=1.0) for _ in range(2))
    assert one.result.plan.inputs["seed"] != other.result.plan.inputs["seed"]
    again = player.play("text2music", **WORDS, **FAST, duration=1.0, seed=one.result.plan.inputs["seed"])
    assert again.outputs["audio"] == one.outputs["audio"]


def test_a_retake_without_variance_is_the_original(player: Player) -> None:
    original = player.play("text2music", **WORDS, **FAST, duration=1.0, seed=7)
    same, other = (
        player.play("retake", **WORDS, **FAST, duration=1.0, seed=7, variance=variance) for variance in (0.0, 0.5)
    )
    np.testing.assert_allclose(same.outputs["latents"].array, original.outputs["latents"].array, atol=1e-5)
    assert np.abs(other.outputs["latents"].array - original.outputs["latents"].array).max() > 0.1


@pytest.mark.parametrize("name", ["repaint", "variation-in-span"])
def test_repainting_keeps_what_lies_outside_of_the_span(player: Player, name: str) -> None:
    song = player.play(name, **WORDS, steps=4, source=SOURCE, span=Span(0.5, 1.0), seed=1, variance=0.5)
    locality = song.outputs["report"].entries["locality"]
    assert locality["outside"]["largest"] == 0.0
    assert locality["inside"]["relative"] > 0.01
    heard = song.outputs["heard"].entries
    assert heard["inside"]["relative"] > heard["edges"]["relative"]
    assert song.outputs["audio"].samples.shape == SOURCE.samples.shape


def test_extend_adds_on_both_sides(player: Player) -> None:
    song = player.play("extend", **WORDS, **FAST, source=SOURCE, left=1.0, right=2.0, seed=1)
    source_frames = -(-round(2.0 * 44_100) // 4096)
    frames = frames_from_seconds(1.0) + source_frames + frames_from_seconds(2.0)
    assert song.outputs["latents"].frames == frames
    assert song.outputs["report"].entries["locality"]["outside"]["largest"] == 0.0
    assert song.outputs["heard"].entries["inside"] is None


def test_edits_change_the_song_and_keep_its_length(player: Player) -> None:
    words = player.play("edit-lyrics", **WORDS, steps=5, source=SOURCE, new_lyrics="[verse]\ngoodbye", seed=1)
    style = player.play("remix", **WORDS, steps=5, source=SOURCE, new_tags="metal", seed=1)
    for song in (words, style):
        assert song.outputs["audio"].samples.shape == SOURCE.samples.shape
        assert song.outputs["report"].entries["locality"]["inside"]["relative"] > 0


def test_audio2audio_at_full_strength_is_the_reference(player: Player) -> None:
    near, far = (player.play("audio2audio", **WORDS, **FAST, reference=SOURCE, strength=s, seed=1) for s in (1.0, 0.1))
    origin = player.play("decode", latents=near.outputs["latents"]).outputs["audio"].samples
    np.testing.assert_allclose(near.outputs["audio"].samples, origin[:, : SOURCE.samples.shape[1]], atol=1e-6)
    assert near.outputs["latents"] != far.outputs["latents"]


def test_takes_share_what_they_have_in_common(player: Player) -> None:
    song = player.play("batch-takes", **WORDS, **FAST, duration=1.0, seeds=[1, 2, 2])
    assert song.ran() == {
        "encode_prompt": 1,
        "encode_lyrics": 1,
        "init_noise": 2,
        "sample": 2,
        "decode_latents": 2,
        "vocode": 2,
    }
    first, second, third = song.outputs["audio"]
    assert second == third != first


def test_the_best_take_is_one_of_the_takes(player: Player) -> None:
    best = player.play("best-of", **WORDS, **FAST, duration=1.0, seeds=[1, 2, 3], by="rms_dbfs", prefer="lowest")
    takes = player.play("batch-takes", **WORDS, **FAST, duration=1.0, seeds=[1, 2, 3])
    index = best.outputs["index"]
    assert best.outputs["audio"] == takes.outputs["audio"][index]
    levels = [float(np.square(audio.samples).mean()) for audio in takes.outputs["audio"]]
    assert index == levels.index(min(levels))


def test_a_lyric_chain_stays_in_latents_and_decodes_once(player: Player) -> None:
    edits = ["[verse]\nhello you", "[verse]\ngoodbye you", "[verse]\ngoodbye all"]
    song = player.play("lyric-chain", **WORDS, steps=5, source=SOURCE, edits=edits, seed=1)
    ran = song.ran()
    assert ran["edit"] == len(edits)
    assert ran["encode_audio"] == 1
    assert ran["decode_latents"] == 2  # the song, and the original it is compared with
    assert ran["encode_lyrics"] == 1 + len(edits)  # what one edit made is what the next one starts from
    assert len(song.outputs["reports"]) == len(edits)


def test_a_chain_is_the_same_as_its_edits_one_by_one(player: Player) -> None:
    edits = ["[verse]\nhello you", "[verse]\ngoodbye you"]
    chain = player.play("lyric-chain", **WORDS, steps=5, source=SOURCE, edits=edits, seed=1)
    first = player.play("edit-lyrics", **WORDS, steps=5, source=SOURCE, new_lyrics=edits[0], seed=1)
    second = player.play(
        "edit-step",
        latents=first.outputs["latents"],
        tags=WORDS["tags"],
        new_tags=WORDS["tags"],
        lyrics=edits[0],
        new_lyrics=edits[1],
        steps=5,
        seed=1,
    )
    assert chain.outputs["latents"] == second.outputs["latents"]


def test_a_chain_of_no_edits_is_the_song(player: Player) -> None:
    song = player.play("lyric-chain", **WORDS, **FAST, source=SOURCE, edits=[], seed=1)
    assert song.ran()["edit"] == 0
    assert song.outputs["heard"].entries["inside"]["largest"] == 0.0


@pytest.mark.parametrize("name", ["lyric2vocal", "text2samples", "rap"])
def test_graphs_with_an_adapter(player: Player, name: str) -> None:
    inputs = {**WORDS, **FAST, "duration": 1.0, "seed": 1}
    voiced = player.play(name, **inputs, adapter="voice").outputs["latents"]
    assert voiced != player.play("text2music", **inputs).outputs["latents"]
    with pytest.raises(CheckpointError, match="no weights for adapter 'no-such-voice'"):
        player.play(name, **inputs, adapter="no-such-voice")


def test_a_stem_for_each_instrument_and_the_mix(player: Player) -> None:
    song = player.play("stem-set", **FAST, track=SOURCE, instruments=["bass", "drums"], seed=1)
    bass, drums = song.outputs["stems"]
    assert bass != drums
    assert bass.samples.shape == drums.samples.shape == SOURCE.samples.shape
    alone = player.play("stemgen", **FAST, track=SOURCE, instrument="bass", seed=1)
    assert alone.outputs["audio"] == bass
    assert song.outputs["audio"].seconds == pytest.approx(SOURCE.seconds)


def test_a_mix_takes_the_levels_of_its_stems(player: Player) -> None:
    def level(gain: float) -> float:
        song = player.play("mix", stems=[SOURCE, SOURCE], tracks=[{"gain": gain}, {"gain": -120.0}])
        return float(np.sqrt(np.mean(song.outputs["audio"].samples ** 2)))

    assert level(-12.0) / level(-6.0) == pytest.approx(10 ** (-6 / 20), rel=1e-3)


def test_singing_gets_an_accompaniment_and_a_master(player: Player) -> None:
    vocal = tone(2.0, 330, sample_rate=44_100, channels=1)
    song = player.play("singing2accompaniment", **WORDS, **FAST, vocal=vocal, seed=1)
    assert song.outputs["accompaniment"].seconds == pytest.approx(2.0)
    measured = song.outputs["measurements"].entries
    assert measured["true_peak_dbtp"] <= -0.9
    assert measured["loudness_lufs"] == pytest.approx(-14, abs=1.0) or measured["true_peak_dbtp"] > -1.1


def test_without_control_weights_the_run_says_what_is_missing(player: Player) -> None:
    for name, track in (
        ("stemgen", {"track": SOURCE, "instrument": "bass"}),
        ("singing2accompaniment", {"vocal": SOURCE, "tags": "pop"}),
    ):
        with pytest.raises(CheckpointError, match="none are published for stemgen and singing2accompaniment"):
            player.play(name, **FAST, **track, control_branch="absent", seed=1)


def test_a_long_song_goes_beyond_what_the_model_sees_at_once(player: Player) -> None:
    song = player.play("long-form", tags="pop", sections=["[outro]"], seconds=121.0, steps=1, seed=1)
    whole: Latents = song.outputs["latents"]
    assert whole.frames == 2 * frames_from_seconds(121.0) > 2583
    audio: Audio = song.outputs["audio"]
    assert audio.seconds == pytest.approx(whole.seconds, abs=0.01)
    for report in song.outputs["reports"]:
        assert report.entries["locality"]["outside"]["largest"] == 0.0
