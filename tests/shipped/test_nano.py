"""The model in the package makes music that follows its tags, and graphs find the extras they need."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from acestep_flows.audio.resample import resample
from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.library import Library
from acestep_flows.graph.planning.layout import plan
from acestep_flows.model.autoencoder import Autoencoder
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.embedded import embedded_checkpoint
from acestep_flows.model.placement import Placement
from acestep_flows.model.vocoder import load_vocoder
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.stages.registry import stages
from acestep_flows.training.synthesis import compose, render
from acestep_flows.values import OUTPUT_RATE, Audio, FloatArray
from benchmarks.nano.listening import RATE, bright_onsets, faults

SECONDS, STEPS = 5.9, 12


@pytest.fixture(scope="module")
def nano() -> Checkpoint:
    return Checkpoint.open(embedded_checkpoint())


@pytest.fixture(scope="module")
def scheduler(nano: Checkpoint) -> Iterator[Scheduler]:
    with LocalRunner(nano, Placement()) as runner:
        yield Scheduler(stages(), runner)


def run_graph(scheduler: Scheduler, graph: str, output: str = "audio", **inputs: Any) -> FloatArray:
    """Run a graph and return an audio output (2, n) at 44.1 kHz."""
    library = Library(working=None)

    async def run() -> Audio:
        planned = plan(library.load(graph), {"steps": STEPS, **inputs}, registry=stages(), find=library.nested)
        result = await run_plan(scheduler, planned)
        values = await scheduler.runner.fetch(dict(result.outputs))
        audio: Audio = values[output]
        return audio

    audio = asyncio.run(run())
    samples: FloatArray = resample(audio.samples, audio.sample_rate, RATE)
    return samples


def song(scheduler: Scheduler, tags: str) -> FloatArray:
    return run_graph(scheduler, "text2music", tags=tags, duration=SECONDS, seed=3)


def test_drums_in_the_tags_are_audible(scheduler: Scheduler) -> None:
    house = song(scheduler, "house, drums, bass, synth lead, 124 bpm, A minor")
    calm = song(scheduler, "ambient, synth pad, sub bass, calm, instrumental")
    assert bright_onsets(house) > 4 * bright_onsets(calm)
    for samples in (house, calm):
        measured = faults(samples)
        assert measured["clipped"] < 0.001
        assert measured["silent"] < 0.1
        assert abs(measured["dc"]) < 0.01


def test_encoding_and_decoding_keep_the_mel(nano: Checkpoint) -> None:
    autoencoder = Autoencoder.load(nano, Placement(), halves=["encoder", "decoder"])
    mix = render(compose(9_700_000_000, seconds=SECONDS)).mix
    mel = autoencoder.log_mel(mix).numpy()
    decoded = autoencoder.decode(autoencoder.encode(mix))
    assert np.abs(decoded - mel).mean() < 0.35
    vocoded = autoencoder.log_mel(load_vocoder(nano, Placement()).decode(mel)).numpy()
    assert np.abs(vocoded[..., : mel.shape[-1]] - mel).mean() < 0.25


def test_graphs_find_their_extras_by_name(scheduler: Scheduler) -> None:
    piece = render(compose(9_700_000_001, seconds=SECONDS, vocal="female"))
    track = Audio(np.clip(resample(piece.mix, RATE, OUTPUT_RATE), -1, 1), OUTPUT_RATE)
    inputs_by_graph: dict[str, dict[str, Any]] = {
        "lyric2vocal": {"lyrics": "[verse]\nhome again", "duration": SECONDS},
        "stemgen": {"track": track, "instrument": "drums, house"},
        "singing2accompaniment": {"vocal": track, "tags": "jazz, piano"},
    }
    for graph, inputs in inputs_by_graph.items():
        samples = run_graph(scheduler, graph, seed=1, **inputs)
        assert samples.shape[1] == pytest.approx(RATE * SECONDS, rel=0.03), graph
        assert faults(samples)["silent"] < 0.5, graph
