"""What an edit leaves alone stays the user's own sound, and songs have the length asked where that is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from acestep_flows.audio.put_back import CROSSFADE
from acestep_flows.graph.execution.cache import Cache
from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.library import Library
from acestep_flows.graph.planning.layout import plan
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.embedded import embedded_checkpoint
from acestep_flows.model.placement import Placement
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.stages.registry import stages
from acestep_flows.values import Audio, Latents, Span
from tests.audio.signals import noisy

WORDS = {"tags": "pop, drums", "lyrics": "[verse]\nhello", "steps": 2, "seed": 1}
SPAN = Span(0.7, 1.3)
Play: TypeAlias = Callable[..., Mapping[str, Any]]


def planned(name: str, **inputs: Any) -> Plan:
    library = Library(working=None)
    return plan(library.load(name), inputs, registry=stages(), find=library.nested)


def playing(checkpoint: Checkpoint) -> Iterator[Play]:
    with LocalRunner(checkpoint, Placement()) as runner:

        def play(name: str, **inputs: Any) -> Mapping[str, Any]:
            async def run() -> Mapping[str, Any]:
                result = await run_plan(Scheduler(stages(), runner, Cache(runner)), planned(name, **inputs))
                outputs: Mapping[str, Any] = await runner.fetch(dict(result.outputs))
                return outputs

            return asyncio.run(run())

        yield play


@pytest.fixture(scope="module")
def play(small: Checkpoint) -> Iterator[Play]:
    yield from playing(small)


@pytest.fixture(scope="module")
def play_nano() -> Iterator[Play]:
    yield from playing(Checkpoint.open(embedded_checkpoint()))


@pytest.mark.parametrize(("rate", "channels"), [(48_000, 2), (44_100, 2), (44_100, 1), (22_050, 1), (96_000, 2)])
@pytest.mark.parametrize("name", ["repaint", "variation-in-span"])
def test_outside_of_the_span_the_samples_are_those_given(play: Play, name: str, rate: int, channels: int) -> None:
    source = noisy(2.0, rate=rate, channels=channels)
    outputs = play(name, **WORDS, source=source, span=SPAN)
    song = outputs["audio"]
    assert (song.sample_rate, song.samples.shape) == (rate, source.samples.shape)
    outside = np.ones(song.samples.shape[1], bool)
    outside[round((SPAN.start - CROSSFADE) * rate) : round((SPAN.end + CROSSFADE) * rate)] = False
    np.testing.assert_array_equal(song.samples[:, outside], source.samples[:, outside])
    assert np.abs(song.samples[:, ~outside] - source.samples[:, ~outside]).max() > 1e-3
    heard = outputs["heard"].entries
    assert heard["given"]["outside"] is None  # all of two seconds is within one second of the span
    assert heard["given"]["inside"]["relative"] > 0.1
    assert heard["inside"]["relative"] > heard["edges"]["relative"]
    assert len(outputs["joints"].entries["joints"]) == 2


@pytest.mark.parametrize(("rate", "channels"), [(48_000, 2), (44_100, 1)])
@pytest.mark.parametrize("exact", [None, True])
def test_an_extension_holds_all_that_was_given(play: Play, rate: int, channels: int, exact: bool | None) -> None:
    source = noisy(2.0, rate=rate, channels=channels)
    outputs = play("extend", **WORDS, source=source, left=1.0, right=1.5, exact_length=exact)
    song = outputs["audio"]
    assert (song.sample_rate, song.channels) == (rate, channels)
    start = round(rate * (1.0 if exact else 10 * 4096 / 44_100))
    fade, length = round(CROSSFADE * rate), source.samples.shape[1]
    own = song.samples[:, start + fade : start + length - fade]
    np.testing.assert_array_equal(own, source.samples[:, fade : length - fade])
    assert outputs["heard"].entries["given"]["outside"]["relative"] < 0.3  # of the crossfades
    if exact:
        assert song.samples.shape[1] == pytest.approx(4.5 * rate, abs=1)


def test_a_longer_source_is_equal_beyond_the_edges_in_the_report(play: Play) -> None:
    given = play("repaint", **WORDS, source=noisy(4.0), span=Span(1.5, 2.0))["heard"].entries["given"]
    assert given["outside"]["largest"] == 0.0


def test_keep_latents_gives_the_decoded_song(play: Play) -> None:
    source = noisy(2.0)
    first = play("repaint", **WORDS, source=source, span=SPAN, keep="latents")
    assert not np.array_equal(first["audio"].samples[:, :10_000], source.samples[:, :10_000])
    assert first["joints"].entries["kept"] == "latents"


@pytest.mark.parametrize("name", ["repaint", "variation-in-span", "extend"])
def test_latents_keep_the_sound_of_their_take_where_it_is_given(play: Play, name: str) -> None:
    take = play("text2music", **WORDS, duration=2.0)
    change: dict[str, Any] = {"right": 1.0} if name == "extend" else {"span": SPAN}
    edited = play(name, **WORDS, source=take["latents"], sound=take["audio"], **change)
    assert edited["joints"].entries["kept"] == "samples"
    before, after = take["audio"].samples, edited["audio"].samples
    same = before.shape[1] - 3_000 if name == "extend" else round((SPAN.start - CROSSFADE) * 48_000)
    np.testing.assert_array_equal(after[:, :same], before[:, :same])
    assert np.abs(after[:, : before.shape[1]] - before).max() > 1e-3
    decoded = play(name, **WORDS, source=take["latents"], **change)
    assert decoded["joints"].entries["kept"] == "latents"
    assert "given" not in decoded["heard"].entries


@pytest.mark.parametrize("name", ["text2music", "retake", "lyric2vocal", "batch-takes", "best-of"])
def test_an_exact_length_is_met_to_the_sample(play: Play, name: str) -> None:
    inputs = {key: value for key, value in WORDS.items() if key != "seed" or name in ("text2music", "retake")}
    inputs |= {"seeds": [1, 2]} if name in ("batch-takes", "best-of") else {}
    inputs |= {"adapter": "voice", "seed": 1} if name == "lyric2vocal" else {}
    songs = play(name, **inputs, duration=1.5, exact_length=True)["audio"]
    for song in songs if isinstance(songs, list) else [songs]:
        assert song.samples.shape[1] == 72_000


def test_a_long_song_has_an_exact_length_too(play: Play) -> None:
    inputs = {"tags": "pop", "sections": ["[verse]", "[outro]"], "seconds": 1.3, "steps": 1, "seed": 1}
    assert play("long-form", **inputs, exact_length=True)["audio"].samples.shape[1] == round(3 * 1.3 * 48_000)
    frames = play("long-form", **inputs)["latents"].frames
    assert frames == 3 * 13


def test_whole_frames_are_the_default_and_said_when_planning() -> None:
    tags = {"tags": "pop"}
    ten = planned("text2music", **tags, duration=10)
    assert ten.warnings == ("9.94 s of the 10 s asked, in whole frames; exact_length=true makes all of it",)
    assert planned("text2music", **tags, duration=10, exact_length=True).warnings == ()
    latents = Latents(np.zeros((8, 16, 20), np.float32))
    assert planned("extend", **tags, source=latents, left=3, right=0).warnings == (
        "left: 2.97 s of the 3 s asked, in whole frames; exact_length=true makes all of it",
    )
    assert len(planned("batch-takes", **tags, duration=10, seeds=[1, 2, 3]).warnings) == 1


def level_steps(song: Audio) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where 50 ms before and after differ in level, every 10 ms: seconds, dB."""
    rate = song.sample_rate
    energy = np.concatenate([[0], np.cumsum(np.square(song.samples, dtype=np.float64).mean(axis=0))])
    window = round(0.05 * rate)
    middles = np.arange(window, song.samples.shape[1] - window, round(0.01 * rate))
    before = energy[middles] - energy[middles - window]
    after = energy[middles + window] - energy[middles]
    return middles / rate, np.abs(10 * np.log10((after + 1e-6) / (before + 1e-6)))


def spectral_flux(song: Audio) -> tuple[NDArray[Any], NDArray[Any]]:
    """How much energy appears anywhere in the spectrum within 10 ms: seconds, sum of log magnitudes."""
    starts = np.arange(0, song.samples.shape[1] - 1024, round(0.01 * song.sample_rate))
    mono = song.samples.mean(axis=0)
    frames = np.stack([mono[start : start + 1024] for start in starts]) * np.hanning(1024)
    magnitudes = np.log1p(100 * np.abs(np.fft.rfft(frames)))
    return (starts[1:] + 512) / song.sample_rate, np.maximum(np.diff(magnitudes, axis=0), 0).sum(axis=1)


def test_joints_step_no_more_than_the_song_itself(play_nano: Play) -> None:
    words = {"tags": "lo-fi, piano, drums", "lyrics": "[verse]\nThe last bus home", "steps": 10}
    source = play_nano("text2music", **words, duration=6, seed=1)["audio"]
    other = words | {"tags": "rock, guitar, drums"}
    painted = play_nano("repaint", **other, source=source, span=Span(2, 4), variance=1, seed=2, retake_seed=3)
    longer = play_nano("extend", **words, source=source, left=2.0, right=2.0, seed=2, retake_seed=3)
    for outputs in (painted, longer):
        joints = outputs["joints"].entries["joints"]
        assert len(joints) == 2
        for measured in (level_steps, spectral_flux):
            _, own = measured(source)
            seconds, found = measured(outputs["audio"])
            for joint in joints:
                near = (seconds > joint["start"] - 0.03) & (seconds < joint["end"] + 0.03)
                assert found[near].max() <= own.max(), (measured.__name__, joint)
