"""Settings that come back: from a take, its file, its recipe, or v1's parameters; and files that are no song."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.client import Client, Run
from tests.served.server import Server
from tests.studio.test_forms import REFUSED, fill, planned

SETTINGS = {
    "tags": "jazz, piano",
    "lyrics": "[verse]\nSnow on the roofs",
    "duration": 2,
    "seed": 77,
    "steps": 4,
    "solver": "heun",
    "guidance": "cfg",
    "guidance_scale": 4.5,
    "guidance_interval": 0.4,
    "omega": -2.5,
    "erg_tag": False,
    "language": "en",
}
V1 = {
    "task": "text2music",
    "prompt": "jazz, piano",
    "lyrics": "[verse]\nSnow on the roofs",
    "audio_duration": 2,
    "infer_step": 4,
    "guidance_scale": 4.5,
    "scheduler_type": "heun",
    "cfg_type": "cfg",
    "omega_scale": -2.5,
    "guidance_interval": 0.4,
    "actual_seeds": [77],
}


@pytest.fixture
def client(server: Server) -> Any:
    with server.client() as client:
        yield client


@pytest.fixture
def take(client: Client) -> Run:
    return client.wait(client.submit("text2music", SETTINGS).id)


def load(page: Any, path: Path) -> None:
    page.get_by_role("tab", name="Text2Music").click()
    page.get_by_label("Load file …").set_input_files(path)
    page.get_by_text(f"Settings of {path.name} are loaded").wait_for()


def test_settings_come_back_from_a_take_its_file_its_recipe_and_v1(
    opened: Callable[..., Any], server: Server, client: Client, take: Run, tmp_path: Path
) -> None:
    page = opened(server, f"#/take/{take.id}")
    page.get_by_role("button", name="Load take").click()
    page.get_by_text("Settings of text2music are loaded").wait_for()
    assert planned(page) == SETTINGS
    for name, file in (("audio", "song.flac"), ("recipe", "recipe.json")):
        fill(page, Tags="other", Steps=9)
        load(page, client.fetch_output(take.id, name, tmp_path / file))
        assert planned(page) == SETTINGS, file
    path = tmp_path / "song_input_params.json"
    path.write_text(json.dumps(V1))
    load(page, path)
    inputs = planned(page)
    known = {name: value for name, value in SETTINGS.items() if name not in ("erg_tag", "language")}
    assert {name: inputs[name] for name in known} == known


def test_what_a_recipe_misses_is_listed_and_an_upload_takes_its_place(
    page: Any, client: Client, take: Run, tmp_path: Path
) -> None:
    path = tmp_path / "repaint_input_params.json"
    repaint = {"task": "repaint", "repaint_start": 0.5, "repaint_end": 1.5, "src_audio_path": "gone.wav"}
    path.write_text(json.dumps({**V1, **repaint, "retake_seeds": [8], "retake_variance": 0.4}))
    load(page, path)
    page.get_by_role("status").get_by_text("gone.wav").wait_for()
    audio = client.fetch_output(take.id, "audio", tmp_path / "found.flac")
    page.get_by_label("Upload …").set_input_files(audio)
    page.get_by_role("button", name="Load its settings").wait_for()
    inputs = planned(page)
    assert inputs["source"] == next(client.assets(limit=1)).id
    assert (inputs["span"], inputs["variance"], inputs["seed"], inputs["retake_seed"]) == ([0.5, 1.5], 0.4, 77, 8)


def test_a_file_that_is_no_song_is_refused_in_words(page: Any, watch: Any, tmp_path: Path) -> None:
    watch.allowed.append(REFUSED)
    path = tmp_path / "song.wav"
    path.write_bytes(b"no song at all")
    page.get_by_role("tab", name="Repaint").click()
    page.get_by_label("Upload …").set_input_files(path)
    said = page.get_by_role("alert").get_by_text("song.wav: ")
    said.wait_for()
    assert len(said.inner_text()) > 20


def test_a_file_dropped_anywhere_becomes_the_source(page: Any, client: Client, take: Run, tmp_path: Path) -> None:
    audio = client.fetch_output(take.id, "audio", tmp_path / "dropped.flac").read_bytes()
    drop = """text => {
        const data = new DataTransfer();
        const bytes = Uint8Array.from(atob(text), each => each.charCodeAt(0));
        data.items.add(new File([bytes], "dropped.flac", {type: "audio/flac"}));
        for (const type of ["dragover", "drop"]) document.body.dispatchEvent(
            new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true}));
    }"""
    page.evaluate(drop, b64encode(audio).decode())
    page.get_by_role("button", name="Extend it").click()
    page.get_by_text("dropped.flac · 1.95 s").wait_for()
    fill(page, Tags="folk")
    assert planned(page)["source"] == next(client.assets(limit=1)).id
