"""Previews of runs: events and files; the song does not change."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load

from acestep_flows.api.execution.previews import PreviewMaker
from acestep_flows.audio import tags
from acestep_flows.client import Client
from acestep_flows.errors import NotFound
from acestep_flows.graph.execution.result import SongPreview
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.stages.registry import stages
from acestep_flows.values import Latents
from tests.api.door import LONG, SHORT, Door, opened
from tests.api.store.clock import new
from tests.api.toys import opened as home_in


@pytest.fixture(scope="module")
def door(strict: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server that can decode while a song is sampled."""
    with opened(tmp_path_factory.mktemp("previews"), strict, workers=2) as door:
        yield door


def test_previews_of_a_running_song_can_be_fetched(door: Door) -> None:
    with Client(door.url) as client:
        run = client.submit("text2music", {**LONG, "duration": 6, "seed": 5}, preview_every=5).id
        with pytest.raises(NotFound, match="no preview of node 'mel'"):
            client.preview(run, "mel")
        event = next(event for event in client.events(run) if event.type == "preview")
        assert (event.node, event.stage, event.content["steps"]) == ("take", "sample", 399)
        assert event.content["step"] % 5 == 0
        wav = client.preview(run, "take")
        sound = soundfile.info(io.BytesIO(wav))
        assert (sound.format, sound.subtype, sound.channels, sound.samplerate) == ("WAV", "PCM_16", 2, 48_000)
        assert sound.duration == pytest.approx(event.content["seconds"], abs=0.01)
        assert sound.duration == pytest.approx(6, abs=0.2)
        assert tags.read(wav).statement.startswith("AI-generated")
        assert np.abs(soundfile.read(io.BytesIO(wav))[0]).max() > 0.001
        (take,) = [node for node in client.status(run).nodes if node.id == "take"]
        assert take.preview is not None
        assert take.preview["step"] >= event.content["step"]
        answer = door.client.get(take.preview["url"], headers={"Range": "bytes=0-3"})
        assert (answer.status_code, answer.content) == (206, b"RIFF")
        assert answer.headers["cache-control"] == "private, no-cache"
        assert int(answer.headers["x-step"]) >= take.preview["step"]
        assert door.client.head(take.preview["url"]).headers["content-type"] == "audio/wav"
        client.cancel(run)
        assert client.wait(run).state == "cancelled"
        assert client.preview(run, "take")[:4] == b"RIFF"


def fetched(door: Door, run: Mapping[str, Any], output: str) -> bytes:
    return door.client.get(run["outputs"][output]["url"]).content


def test_previews_do_not_change_the_song(door: Door) -> None:
    inputs = {**SHORT, "steps": 6}
    runs = [door.finished(inputs=inputs, cache="off", format="wav", **more) for more in ({}, {"preview_every": 1})]
    without, with_previews = ([fetched(door, run, output) for output in ("latents", "audio")] for run in runs)
    assert load(without[0])["array"].tobytes() == load(with_previews[0])["array"].tobytes()
    assert (soundfile.read(io.BytesIO(without[1]))[0] == soundfile.read(io.BytesIO(with_previews[1]))[0]).all()
    assert not any(node["preview"] for node in runs[0]["nodes"])


def test_a_preview_replaced_during_the_request_returns_the_next_one(
    strict: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path, strict, executing=False) as door:
        run = door.submit(preview_every=1)["id"]
        claimed = door.home.leases.claim("e")
        assert claimed is not None
        get = type(door.home.previews).get

        def put(step: int) -> None:
            blob = door.home.artifacts.put(b"%d" % step)
            assert door.home.previews.put(claimed.lease, "take", step, 9, 1.0, blob)

        def overtaken(self: Any, run: str, node: str) -> Any:
            preview = get(self, run, node)
            if preview.step < 3:
                put(preview.step + 1)
            return preview

        put(1)
        monkeypatch.setattr(type(door.home.previews), "get", overtaken)
        answer = door.client.get(f"/v1/runs/{run}/previews/take")
        assert (answer.content, answer.headers["x-step"]) == (b"3", "3")
        door.home.artifacts.drop(get(door.home.previews, run, "take").digest)
        assert door.client.get(f"/v1/runs/{run}/previews/take").status_code == 404


@pytest.mark.parametrize("every", [0, -1, 1001, 2.5, "often"])
def test_an_invalid_preview_interval_is_refused(door: Door, every: Any) -> None:
    body = {"graph": "text2music", "inputs": dict(SHORT), "preview_every": every}
    assert door.client.post("/v1/runs", json=body).status_code == 422


@pytest.mark.parametrize("path", ["run-00000000000000000000000000/previews/take", "x/previews/take"])
def test_an_unknown_run_has_no_preview(door: Door, path: str) -> None:
    assert door.client.get(f"/v1/runs/{path}").status_code in (404, 422)


def preview_at(node: str, step: int, frames: int = 30, seed: int = 0) -> SongPreview:
    array = np.random.default_rng(seed).standard_normal((8, 16, frames)).astype(np.float32)
    return SongPreview(node, "sample", step, 20, Latents(array))


def test_newer_previews_replace_waiting_ones_and_failures_are_skipped(
    small: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[tuple[str, int, float]] = []

    def on_stored(preview: SongPreview, more: Mapping[str, Any]) -> None:
        stored.append((preview.node, preview.step, more["seconds"]))

    async def work() -> None:
        maker = PreviewMaker(home, scheduler, lease, threads, on_stored, seconds=1.0)
        for step in (1, 2, 3):
            maker.take(preview_at("a", step))
        maker.take(preview_at("b", 1, frames=0))  # an empty song
        maker.take(preview_at("c", 7, frames=5))
        assert maker._task is not None
        await maker._task
        maker.take(preview_at("d", 1))
        await asyncio.sleep(0)
        maker.take(preview_at("e", 1))
        await maker.close()

    with home_in(tmp_path) as home, LocalRunner(small) as runner, ThreadPoolExecutor(1) as threads:
        scheduler = Scheduler(stages(), runner)
        home.runs.accept(new())
        claimed = home.leases.claim("e")
        assert claimed is not None
        lease = claimed.lease
        asyncio.run(work())
        assert [(node, step) for node, step, _ in stored] == [("a", 3), ("c", 7)]
        assert stored[0][2] == pytest.approx(1.0, abs=0.1)  # of 2.8 seconds, the configured length
        assert [preview.node for preview in home.previews.all(lease.run)] == ["a", "c"]
