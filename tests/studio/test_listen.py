"""Listening to a take: waveform, span, comparison, what changed, files."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import Request, urlopen

import pytest

from acestep_flows.client import Client, Run
from tests.served.server import Server
from tests.studio.conftest import until

RECORD_PLAYERS = """
window.players = [];
window.Audio = class extends Audio { constructor(...given) { super(...given); window.players.push(this); } };
"""
"""Media elements of the page are in no document, so that a test must note them as they are made."""

RECORD_GAINS = """
window.gains = [];
window.GainNode = class extends GainNode { constructor(...given) { super(...given); window.gains.push(this); } };
"""

SONG = {"tags": "house", "lyrics": "[verse]\nThe last bus home", "duration": 2, "steps": 4, "seed": 7}


@pytest.fixture(scope="module")
def client(the_server: Server) -> Iterator[Client]:
    with the_server.client() as client:
        yield client


@pytest.fixture(scope="module")
def song(client: Client) -> Run:
    return client.wait(client.submit("text2music", SONG, labels={"title": "Night bus <i>"}).id)


@pytest.fixture(scope="module")
def repainted(client: Client, song: Run) -> Run:
    source = {"source": song.outputs["latents"].asset, "sound": song.outputs["audio"].asset}
    inputs = {"tags": "jazz", "span": [0.5, 1.2], "seed": 7, "variance": 1, "steps": 4}
    return client.wait(client.submit("repaint", source | inputs).id)


def value_of(handle: Any) -> float:
    return float(handle.get_attribute("aria-valuenow"))


def test_mouse_and_keys_mark_the_same_span_and_it_is_submitted(
    opened: Callable[..., Any], server: Server, song: Run
) -> None:
    page = opened(server, f"#/take/{song.id}?tab=repaint")
    start = page.get_by_role("slider", name="Start of the span")
    end = page.get_by_role("slider", name="End of the span")
    start.wait_for()
    wave = page.get_by_role("img", name="Waveform").bounding_box()
    length = float(end.get_attribute("aria-valuemax"))

    def x_of(seconds: float) -> float:
        return float(wave["x"] + wave["width"] * seconds / length)

    def drag(handle: Any, to: float) -> None:
        y = wave["y"] + wave["height"] / 2
        page.mouse.move(x_of(value_of(handle)), y)
        page.mouse.down()
        page.mouse.move(x_of(to), y, steps=5)
        page.mouse.up()

    def submitted() -> list[float]:
        with page.expect_request(lambda each: each.method == "POST" and each.url.endswith("/v1/runs")) as request:
            page.get_by_role("button", name="Generate").click()
        span = request.value.post_data_json["inputs"]["span"]
        until(page, f"!location.hash.includes('{song.id}')")  # the new run is chosen
        page.evaluate(f"location.hash = '#/take/{song.id}?tab=repaint'")
        return [span["start"], span["end"]] if isinstance(span, dict) else span

    drag(start, 0.5)
    drag(end, 1.5)
    assert [value_of(start), value_of(end)] == pytest.approx([0.5, 1.5], abs=0.02)
    dragged = [value_of(start), value_of(end)]
    assert submitted() == pytest.approx(dragged, abs=0.006)

    start.wait_for()
    for handle, key, target in ((start, "Home", 0.0), (end, "End", length)):
        handle.press(key)
        assert value_of(handle) == pytest.approx(target, abs=0.006)
    for handle, goal in ((start, dragged[0]), (end, dragged[1])):
        for modifier, step in (("", 0.1), ("Alt+", 0.01)):
            while abs(value_of(handle) - goal) > step / 2 + 1e-6:
                handle.press(f"{modifier}Arrow{'Right' if value_of(handle) < goal else 'Left'}")
    assert [value_of(start), value_of(end)] == pytest.approx(dragged, abs=0.006)
    assert submitted() == pytest.approx(dragged, abs=0.006)


def test_keys_play_and_mark(opened: Callable[..., Any], server: Server, song: Run) -> None:
    page = opened(server, f"#/take/{song.id}?tab=repaint")
    wave = page.get_by_role("img", name="Waveform")
    page.get_by_role("slider", name="Start of the span").wait_for()
    box = wave.bounding_box()
    wave.click(position={"x": box["width"] * 0.4, "y": 20})
    page.keyboard.press("i")
    wave.click(position={"x": box["width"] * 0.75, "y": 20})
    page.keyboard.press("o")
    marked = [value_of(page.get_by_role("slider", name=f"{end} of the span")) for end in ("Start", "End")]
    assert marked == pytest.approx([0.4 * song_seconds(page), 0.75 * song_seconds(page)], abs=0.03)
    page.keyboard.press("j")
    page.get_by_role("group", name="Player").get_by_text("0:00.0", exact=True).wait_for()
    page.keyboard.press(" ")
    page.get_by_role("button", name="Pause", exact=True).wait_for()
    page.keyboard.press("k")
    page.get_by_role("button", name="Play", exact=True).wait_for()


def song_seconds(page: Any) -> float:
    return float(page.get_by_role("slider", name="End of the span").get_attribute("aria-valuemax"))


def test_two_takes_sound_by_turns_on_one_clock(
    opened: Callable[..., Any], server: Server, client: Client, song: Run, repainted: Run
) -> None:
    page = opened(server, f"#/take/{repainted.id}")
    page.add_init_script(RECORD_PLAYERS)
    page.reload()
    page.get_by_role("button", name="Compare with its parent").click()
    page.get_by_role("button", name="Loop").click()
    heard = f"players.filter((each) => each.src).map((each) => [each.src.includes('{song.id}'), each.muted])"
    page.keyboard.press("k")
    until(page, "players.filter((each) => !each.paused && each.currentTime > 0.2).length === 2")
    apart = page.evaluate("Math.abs(players[0].currentTime - players[1].currentTime)")
    assert apart < 0.15
    assert page.evaluate(heard) == [[False, False], [True, True]]
    page.keyboard.press("x")
    until(page, "players[0].muted && !players[1].muted")
    page.get_by_label("Blind").check()
    page.get_by_role("button", name="2 is better").click()
    page.get_by_text("Heard blind").wait_for()
    word, other = client.status(repainted.id).labels["vote"].split()
    assert word in ("better", "worse")
    assert other == song.id


def test_stems_are_heard_and_mixed_at_their_levels_and_places(
    opened: Callable[..., Any], server: Server, client: Client, song: Run
) -> None:
    inputs = {"track": song.outputs["latents"].asset, "instruments": ["bass", "drums"], "steps": 2, "seed": 1}
    run = client.wait(client.submit("stem-set", inputs).id)
    page = opened(server, f"#/take/{run.id}")
    page.add_init_script(RECORD_PLAYERS + RECORD_GAINS)
    page.reload()
    page.get_by_role("button", name="Open the mixer").click()
    bass, drums = (page.get_by_role("group", name=name, exact=True) for name in ("bass", "drums"))
    bass.get_by_label("Level of bass").fill("-6")
    bass.get_by_label("Place of bass between left and right").fill("-1")
    bass.get_by_text("100 % left").wait_for()
    drums.get_by_role("button", name="Mute drums").click()
    heard = page.evaluate("players.filter((each) => each.src).map((each) => each.muted ? 0 : each.volume)")
    assert heard == pytest.approx([0, 1, 10 ** (-6 / 20), 0])
    assert page.evaluate("gains.map((each) => each.gain.value)") == pytest.approx([1, 1, 1, 1, 1, 0, 1, 1, 1])
    with page.expect_request(lambda each: each.method == "POST" and each.url.endswith("/v1/runs")) as request:
        page.get_by_role("button", name="Mix down on the server").click()
    sent = request.value.post_data_json["inputs"]
    assert sent["tracks"] == [{"gain": 0}, {"gain": -6, "pan": -1}]
    stems = [run.outputs[name].asset for name in sorted(run.outputs) if name.startswith("stems.")]
    assert sent["stems"] == [song.outputs["audio"].asset, stems[0]]
    until(page, f"!location.hash.includes('{run.id}')")
    assert client.wait(page.url.split("/take/")[1].split("?")[0]).state == "succeeded"


def test_a_take_says_what_it_left_unchanged(opened: Callable[..., Any], server: Server, repainted: Run) -> None:
    page = opened(server, f"#/take/{repainted.id}")
    changed = page.get_by_role("region", name="What changed", exact=True)
    changed.get_by_text("Outside the span: the latents are the same to the bit.").wait_for()
    strip = page.get_by_role("list", name="What changed where")
    assert "inside" in strip.inner_text()
    assert "retake_seed" in page.get_by_role("list", name="Seeds").inner_text()


def test_a_take_downloads_in_every_form(opened: Callable[..., Any], server: Server, song: Run) -> None:
    page = opened(server, f"#/take/{song.id}")

    def download(role: str, name: str) -> tuple[str, bytes]:
        with page.expect_download() as download:
            page.get_by_role(role, name=name, exact=True).click()
        return download.value.suggested_filename, download.value.path().read_bytes()

    for format, magic in (("WAV", b"RIFF"), ("FLAC", b"fLaC"), ("OGG", b"OggS")):
        name, content = download("link", format)
        assert name == f"Night bus -i-.{format.lower()}"
        assert content.startswith(magic)
    assert download("link", "MP3")[0] == "Night bus -i-.mp3"
    name, content = download("button", "All as ZIP")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert {path.rpartition("/")[2] for path in archive.namelist()} >= {"Night bus -i-.flac", "latents.safetensors"}
    name, content = download("button", "v1 parameters")
    assert name == "Night bus -i-_input_params.json"
    assert json.loads(content)["actual_seeds"] == [7]
    read = json.load(urlopen(Request(f"{server.url}/v1/recipes:read", content)))
    assert read["graph"] == "text2music"
    assert {name: read["inputs"][name] for name in SONG} == SONG


def test_previews_keep_the_position_until_the_song_is_done(opened: Callable[..., Any], server: Server) -> None:
    with server.client() as client:
        run = server.song(client, seconds=4, steps=200, seed=11, preview_every=20)
        page = opened(server, f"#/take/{run.id}")
        page.get_by_text("Preview: as it sounds after step").wait_for()
        position = page.get_by_role("slider", name="Position")
        until(page, "document.querySelector('input[aria-label=Position]').max > 3")  # its length is known
        position.fill("1.5")
        page.get_by_text("Preview: as it sounds after step").wait_for(state="detached")
        page.get_by_role("link", name="WAV").wait_for()
        assert float(position.input_value()) == pytest.approx(1.5, abs=0.11)
        assert client.status(run.id).state == "succeeded"
