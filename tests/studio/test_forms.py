"""The forms: what each tab submits, and what the server says of it at the field that it means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.client import Client, Run
from tests.served.server import Server
from tests.studio.conftest import until

Open = Callable[..., Any]

REFUSED = "Failed to load resource"
"""What Chromium writes to the console of a page whose request is refused."""

TEXTS = {"tags": "folk, violin", "lyrics": "[verse]\nOne line\nand one more"}
FEW = {"steps": 4}


def fill(page: Any, **values: object) -> None:
    for label, value in values.items():
        page.get_by_role("textbox", name=label.replace("_", " "), exact=True).fill(str(value))


def posted(page: Any, button: str, part: str) -> dict[str, Any]:
    """What the page sends to an address that ends in `part` when a button is pressed."""
    with page.expect_request(lambda request: request.method == "POST" and request.url.endswith(part)) as sent:
        page.get_by_role("button", name=button, exact=True).click()
    return dict(sent.value.post_data_json)


def planned(page: Any) -> dict[str, Any]:
    """The inputs that the page asks a plan for."""
    return dict(posted(page, "Plan", "/plan")["inputs"])


def unfold(page: Any) -> None:
    page.get_by_role("button", name="Plan", exact=True).wait_for()
    while (summary := page.locator("details:not([open]) > summary").first).count():
        summary.click()


@pytest.fixture
def client(server: Server) -> Any:
    with server.client() as client:
        yield client


@pytest.fixture
def song(server: Server, client: Client) -> Run:
    """A song of the server, made at most once."""
    run = client.submit("text2music", {**TEXTS, **FEW, "duration": 2, "seed": 5, "guidance_scale": 4})
    return client.wait(run.id)


def inputs_of(run: Run) -> Mapping[str, Any]:
    assert run.inputs is not None
    return run.inputs


def test_one_song_goes_through_all_tabs(page: Any, server: Server, client: Client) -> None:
    """Each tab submits what it shows. A take goes on as latents, with its texts, its seed and its settings."""
    fill(page, Tags=TEXTS["tags"], Lyrics=TEXTS["lyrics"], Duration_s=2, Steps=4)
    own: dict[str, dict[str, object]] = {
        "Text2Music": {},
        "Retake": {"Variance": 0.3},
        "Repaint": {"from": 0.5, "to": 1.5},
        "Edit": {"New_lyrics": "[verse]\nAnother line\nand one more"},
        "Extend": {"Add_after_s": 1},
    }
    runs: list[Run] = []
    sent: list[dict[str, Any]] = []
    for tab, values in own.items():
        page.get_by_role("tab", name=tab).click()
        fill(page, **values)
        sent.append(posted(page, "Generate", "/v1/runs"))
        page.wait_for_url("**/take/run-*")
        until(page, f"!location.hash.includes('{runs[-1].id if runs else 'none'}')")
        runs.append(client.wait(page.url.split("/take/")[1].split("?")[0]))
        assert runs[-1].state == "succeeded", runs[-1].error
        page.reload()

    def source(parent: Run) -> dict[str, Any]:
        return {"source": parent.outputs["latents"].asset}

    def sound(parent: Run) -> dict[str, Any]:
        return {"sound": parent.outputs["audio"].asset}

    first, retake, repaint, edit = runs[:4]
    span = {"span": [0.5, 1.5], "variance": 0.2}
    seed = inputs_of(first)["seed"]
    kept = {**FEW, "solver": "euler"}
    wanted: list[tuple[str, dict[str, Any]]] = [
        ("text2music", {**TEXTS, **FEW, "duration": 2}),
        ("retake", {**TEXTS, **kept, "duration": 2, "seed": seed, "variance": 0.3}),
        (
            "repaint",
            {**TEXTS, **kept, **source(retake), **sound(retake), **span, "seed": seed},
        ),
        (
            "edit",
            {**TEXTS, **kept, **source(repaint), "new_tags": TEXTS["tags"], "minimum": 0.6}
            | {"new_lyrics": "[verse]\nAnother line\nand one more"},
        ),
        (
            "extend",
            {**kept, **source(edit), **sound(edit), "right": 1, "tags": TEXTS["tags"], "seed": inputs_of(edit)["seed"]}
            | {"lyrics": "[verse]\nAnother line\nand one more"},
        ),
    ]
    drawn = ["seed", "retake_seed", "retake_seed", "seed", "retake_seed"]
    for body, (graph, inputs), seeds in zip(sent, wanted, drawn, strict=True):
        assert body["graph"] == graph
        assert isinstance(body["inputs"].pop(seeds), int)
        assert body["inputs"] == inputs, graph
    assert [run.labels.get("parent") for run in runs] == [None, *(run.id for run in runs[:4])]


def test_an_extension_of_nothing_is_refused_and_one_too_long_leads_to_sections(
    opened: Open, server: Server, song: Run, watch: Any
) -> None:
    watch.allowed.append(REFUSED)
    page = opened(server, f"#/take/{song.id}?tab=extend")
    fill(page, Add_after_s=0)
    planned(page)
    page.locator(".foot .wrong").or_(page.locator(".wrong[id]")).first.wait_for()
    fill(page, Add_after_s=239)
    page.get_by_role("button", name="Make it in sections").click()
    assert planned(page)["sections"] == [TEXTS["lyrics"]]


def test_many_seeds_make_many_takes_and_a_locked_seed_stays(page: Any) -> None:
    fill(page, Seeds="1, 2, 3")
    assert planned(page)["seeds"] == [1, 2, 3]
    page.reload()
    assert page.get_by_role("textbox", name="Seeds").input_value() == "1, 2, 3"
    page.get_by_role("button", name="Keep the seeds").click()
    assert planned(page)["seed"] == "random"
    page.get_by_label("How many").select_option("4")
    page.get_by_role("button", name="Roll new seeds and keep them").click()
    drawn = planned(page)["seeds"]
    assert len({seed for seed in drawn if isinstance(seed, int)}) == 4


def test_a_retake_of_an_edit_is_a_repaint_of_the_whole(opened: Open, server: Server, client: Client, song: Run) -> None:
    """Only a song that was made from noise alone can be made again from its seed."""
    source = {"source": song.outputs["latents"].asset, "sound": song.outputs["audio"].asset}
    edit = client.wait(client.submit("repaint", source | TEXTS | FEW | {"span": [0.5, 1], "seed": 5}).id)
    page = opened(server, f"#/take/{edit.id}?tab=retake")
    page.get_by_text("not made from noise alone").wait_for()
    generate, plan = (page.get_by_role("button", name=name, exact=True) for name in ("Generate", "Plan"))
    assert (generate.is_disabled(), plan.is_disabled()) == (True, True)
    runs = len(list(client.runs()))
    page.keyboard.press("Control+Enter")
    page.get_by_role("button", name="Repaint it").click()
    page.get_by_text("as marked on the waveform").wait_for()
    assert (generate.is_enabled(), plan.is_enabled()) == (True, True)
    assert len(list(client.runs())) == runs
    inputs = planned(page)
    assert inputs["source"] == edit.outputs["latents"].asset
    assert inputs["variance"] == 1
    assert inputs["span"] == [0, pytest.approx(2, abs=0.1)]


def test_a_title_is_given_before_the_song_is_there(page: Any, client: Client) -> None:
    fill(page, Tags=TEXTS["tags"], Duration_s=60, Steps=200)
    page.get_by_label("Title of the new take").fill(" Night bus ")
    sent = posted(page, "Generate", "/v1/runs")
    assert sent["labels"] == {"title": "Night bus"}
    page.get_by_role("heading", name="Night bus").wait_for()
    client.cancel(page.url.split("/take/")[1].split("?")[0])


def test_presets_of_ones_own_go_to_another_browser_as_a_file(opened: Open, server: Server, tmp_path: Path) -> None:
    page, other = opened(server), opened(server)
    fill(page, Tags="dub, slow")
    page.get_by_role("button", name="Save as a preset").click()
    page.get_by_label("Name of the preset").fill("Late")
    page.get_by_label("Name of the preset").press("Enter")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    fill(other, Tags="other")
    other.get_by_label("Import …").set_input_files(path)
    other.get_by_text("1 presets are imported.").wait_for()
    other.reload()
    other.get_by_label("Preset", exact=True).select_option("Late")
    assert planned(other)["tags"] == "dub, slow"
    for content in ("no JSON", "{}", "[]", '[{"name": "x"}]', '[{"name": 1, "tags": ""}]'):
        (tmp_path / "wrong.json").write_text(content)
        other.get_by_label("Import …").set_input_files(tmp_path / "wrong.json")
        other.get_by_role("alert").get_by_text("wrong.json: this is no file of presets").wait_for()
        other.get_by_role("alert").get_by_role("button", name="Close").click()


def test_switches_lead_to_other_graphs_and_instrumental_keeps_the_lyrics(page: Any, song: Run) -> None:
    page.reload()
    fill(page, Lyrics="[verse]\nKept")
    page.get_by_role("switch", name="Instrumental").check()
    assert planned(page)["lyrics"] == "[inst]"
    page.get_by_role("switch", name="Instrumental").uncheck()
    assert planned(page)["lyrics"] == "[verse]\nKept"
    page.get_by_role("switch", name="Best of several").check()
    page.get_by_label("Best by").select_option("loudness_lufs")
    inputs = planned(page)
    assert (inputs["by"], len(inputs["seeds"])) == ("loudness_lufs", 4)
    page.get_by_role("switch", name="Audio2Audio").check()
    assert planned(page)["reference"] == song.outputs["latents"].asset
    assert not page.get_by_role("switch", name="Best of several").is_checked()


def test_changes_are_marked_and_go_back_one_by_one_or_all_at_once(page: Any) -> None:
    unfold(page)
    page.get_by_role("textbox", name="Guidance scale").fill("7")
    page.get_by_role("textbox", name="Steps", exact=True).fill("27")
    page.get_by_role("radiogroup", name="ERG for tags").get_by_label("on", exact=True).check()
    assert planned(page) | {"guidance_scale": 7, "steps": 27, "erg_tag": True} == planned(page)
    page.get_by_role("button", name="Guidance scale back").click()
    assert "guidance_scale" not in planned(page)
    page.get_by_role("button", name="Put 2 settings back").click()
    assert not {"steps", "erg_tag"} & set(planned(page))


def test_many_new_lines_can_be_sung_in_small_steps(opened: Open, server: Server, client: Client) -> None:
    lines = [f"Line {number}" for number in range(8)]
    run = client.submit("text2music", {**TEXTS, **FEW, "lyrics": "\n".join(lines), "duration": 2, "seed": 5})
    client.wait(run.id)
    page = opened(server, f"#/take/{run.id}?tab=edit")
    new = ["A", "B", *lines[2:5], "C", "D", lines[7], "E", "F", "G", "H"]
    fill(page, New_lyrics="\n".join(new))
    difference = page.get_by_role("group", name="What changes in the lyrics")
    assert difference.locator("ins").all_inner_texts() == [
        "+ A",
        "+ B",
        "+ C",
        "+ D",
        *(f"+ {letter}" for letter in "EFGH"),
    ]
    page.get_by_role("switch", name="In small steps").check()
    sent = planned(page)
    assert sent["edits"] == [
        "\n".join(["A", "B", *lines[2:]]),
        "\n".join(["A", "B", *lines[2:5], "C", "D", lines[7]]),
        "\n".join(new[:-1]),
        "\n".join(new),
    ]


MINE = {
    "type": "object",
    "required": ["count"],
    "properties": {
        "count": {"type": "integer", "description": "How often it rings.", "x-type": "int"},
        "mood": {"type": "string", "enum": ["bright", "dark"], "default": "bright", "x-type": "text"},
        "loud": {"type": "boolean", "default": False, "x-type": "bool"},
        "parts": {"type": "array", "items": {"type": "string", "format": "asset"}, "x-type": "list of audio"},
        "guide": {
            "anyOf": [{"type": "string", "format": "asset"}, {"type": "null"}],
            "default": None,
            "x-type": "music",
        },
        "other": {
            "anyOf": [{"type": "string", "format": "asset"}, {"type": "null"}],
            "default": None,
            "x-type": "music",
        },
        "words": {"type": "array", "items": {"type": "string"}, "x-type": "list of text"},
        "times": {"type": "array", "items": {"type": "number"}, "x-type": "list of float"},
    },
}


def test_a_graph_of_ones_own_has_a_form_by_itself(opened: Open, server: Server, song: Run, watch: Any) -> None:
    watch.allowed.append(REFUSED)  # the server does not know it
    entry = {"name": "mine", "summary": "Rings.", "url": "/v1/graphs/mine", "ok": True}
    page = opened(server, "#/?tab=more")
    page.route("**/v1/catalog", lambda route: route.fulfill(json={**route.fetch().json(), "graphs": [entry]}))
    page.route("**/v1/graphs/mine", lambda route: route.fulfill(json={**entry, "inputs": MINE}))
    page.reload()
    page.get_by_role("button", name="mine Rings.").click()
    page.get_by_text("How often it rings.").wait_for()
    fill(page, Count=3, Words_1="ding", Times="0.5, 1")
    page.get_by_role("radiogroup", name="Mood").get_by_label("dark", exact=True).check()
    page.get_by_role("radiogroup", name="Loud").get_by_label("on", exact=True).check()
    page.get_by_label("Parts 1", exact=True).select_option("song")
    page.get_by_label("Guide", exact=True).select_option("The chosen take")
    parts = {"parts": [song.outputs["audio"].asset], "guide": song.outputs["latents"].asset}
    wanted = {"count": 3, "mood": "dark", "loud": True, "words": ["ding"], "times": [0.5, 1]}
    assert planned(page) == {**wanted, **parts}
