"""Graphs over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acestep_flows.api.options import ApiOptions
from acestep_flows.graph.library import shipped
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import SHORT, Door, opened, sound

TRIM = {
    "graph": "mine",
    "version": 1,
    "inputs": {"source": {"type": "audio"}},
    "nodes": {"cut": {"stage": "trim", "with": {"audio": "$source", "span": [0, 0.5]}}},
    "outputs": {"audio": "$cut.audio"},
}


def test_every_shipped_graph_is_listed_and_shown(door: Door) -> None:
    listed = door.client.get("/v1/graphs").json()["graphs"]
    assert {entry["name"] for entry in listed} == {path.stem for path in shipped().glob("*.yaml")}
    for entry in listed:
        graph = door.client.get(entry["url"]).json()
        assert graph["summary"] == entry["summary"]
        assert graph["inputs"]["additionalProperties"] is False
        assert graph["outputs"]
        assert graph["mermaid"].startswith("flowchart")


def test_a_graph_tells_its_inputs_outputs_and_nodes(door: Door) -> None:
    graph = door.client.get("/v1/graphs/text2music").json()
    assert graph["inputs"]["properties"]["duration"]["maximum"] == 240
    assert graph["outputs"] == {"audio": "audio", "latents": "latents", "report": "report"}
    assert graph["nodes"]["take"] == "sample"


def test_a_picture_is_a_png(door: Door) -> None:
    response = door.client.get("/v1/graphs/decode/picture.png")
    assert response.headers["content-type"] == "image/png"
    assert response.content.startswith(b"\x89PNG")
    assert door.client.get("/v1/graphs/nothing/picture.png").status_code == 404


@pytest.mark.parametrize(
    "name", ["nothing", "..%2F..%2Fetc%2Fpasswd", "text2music.yaml", "%2Fetc%2Fpasswd", "a%00b", "..", "C:%5Cx"]
)
def test_no_graph_is_found_by_path(door: Door, name: str) -> None:
    response = door.client.get(f"/v1/graphs/{name}")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"
    for path in ("plan", "picture.png"):
        assert door.client.get(f"/v1/graphs/{name}/{path}").status_code in (404, 405)
    assert door.client.post("/v1/runs", json={"graph": name, "inputs": {}}).status_code == 404


def test_a_good_graph_checks_and_tells_its_inputs(door: Door) -> None:
    answer = door.client.post("/v1/graphs:check", json={"graph": TRIM}).json()
    assert answer["ok"] is True
    assert answer["problems"] == []
    assert answer["inputs"]["required"] == ["source"]


def test_every_problem_of_a_graph_has_its_position(door: Door) -> None:
    text = "graph: g\nversion: 1\nnodes:\n  a: {stage: vocod}\n  b: {stage: trim, wiht: {}}\noutputs: {x: $c.d}\n"
    answer = door.client.post("/v1/graphs:check", json={"graph": text}).json()
    assert answer["ok"] is False
    assert {(problem["line"], problem["node"]) for problem in answer["problems"]} >= {(4, "a"), (5, "b")}
    assert any("vocode" in problem["message"] for problem in answer["problems"])


def test_a_graph_to_check_reads_no_file(door: Door) -> None:
    for target in ("/etc/passwd", "../secret.yaml", "./text2music.yaml"):
        graph = {"graph": "g", "version": 1, "nodes": {"a": {"graph": target}}, "outputs": {"x": "$a.audio"}}
        answer = door.client.post("/v1/graphs:check", json={"graph": graph}).json()
        assert answer["ok"] is False
        assert "root:" not in str(answer)


@pytest.mark.parametrize("trick", ["../../etc/passwd", "/etc/passwd", "..", "a/b", "a\\b", "~", "C:x", "%2e%2e", "a.b"])
def test_no_name_in_a_graph_is_a_path(door: Door, trick: str) -> None:
    def graph(
        name: str = "g", source: str = "source", node: str = "cut", out: str = "audio", stage: str = "trim"
    ) -> Any:
        nodes = {node: {"stage": stage, "with": {"audio": f"${source}", "span": [0, 0.5]}}}
        inputs, outputs = {source: {"type": "audio"}}, {out: f"${node}.audio"}
        return {"graph": name, "version": 1, "inputs": inputs, "nodes": nodes, "outputs": outputs}

    parts: dict[str, Any] = graph()
    parts["outputs"] = {"audio": {trick: "$cut.audio"}}
    assert door.client.post("/v1/graphs:check", json={"graph": graph()}).json()["ok"] is True
    for where in ("name", "source", "node", "out", "stage"):
        answer = door.client.post("/v1/graphs:check", json={"graph": graph(**{where: trick})}).json()
        assert answer["ok"] is False, where
        assert str(door.home.root) not in str(answer)
    assert door.client.post("/v1/graphs:check", json={"graph": parts}).json()["ok"] is False


def test_adapters_are_described_by_name_not_by_folder(door: Door) -> None:
    for name in ("rap", "lyric2vocal", "stemgen", "stem-set", "text2samples", "singing2accompaniment"):
        inputs = door.client.get(f"/v1/graphs/{name}").json()["inputs"]["properties"]
        description = inputs.get("adapter", inputs.get("control_branch"))["description"]
        assert "by name" in description
        assert "or folder" not in description
        assert "in process" in description


@pytest.mark.parametrize("graph", ["", "- 1", "&a [*a]", "graph: [", {}, {"graph": 3}, "a: b: c", "\t", "x" * 5000])
def test_an_invalid_graph_is_refused(door: Door, graph: object) -> None:
    answer = door.client.post("/v1/graphs:check", json={"graph": graph})
    assert answer.status_code == 200
    assert answer.json()["ok"] is False


def test_a_plan_names_nodes_seconds_and_what_is_cached(door: Door) -> None:
    inputs = dict(SHORT) | {"seed": 77}
    before = door.client.post("/v1/graphs/text2music/plan", json={"inputs": inputs}).json()
    assert [node["id"] for node in before["nodes"]] == ["prompt", "words", "noise", "take", "mel", "song"]
    door.finished(inputs=inputs)
    after = door.client.post("/v1/graphs/text2music/plan", json={"inputs": inputs}).json()
    assert {node["fate"] for node in after["nodes"]} == {"cached"}
    assert after["seconds"] == 0
    again = door.client.post("/v1/graphs/text2music/plan", json={"inputs": inputs | {"seed": 78}}).json()
    assert next(node for node in again["nodes"] if node["id"] == "take")["seconds"] > 0
    assert again["inputs"]["solver"] == "euler"


def test_a_plan_refuses_what_a_run_would(door: Door) -> None:
    for inputs, word in (({}, "tags"), ({"tags": "x", "duration": 900}, "240"), ({"tags": "x", "tempo": 1}, "tempo")):
        response = door.client.post("/v1/graphs/text2music/plan", json={"inputs": inputs})
        assert response.status_code == 422
        assert word in response.json()["error"]["message"]


def test_assets_are_too_large_together(strict: Checkpoint, tmp_path: Path) -> None:
    options = ApiOptions(input_decoded_bytes=1 << 20)
    with opened(tmp_path, strict, options=options, executing=False) as door:
        small, large = (door.upload(sound(seconds)).json()["id"] for seconds in (1, 4))
        for asset, status in ((small, 200), (large, 422)):
            inputs = {"reference": asset, "tags": "x"}
            response = door.client.post("/v1/graphs/audio2audio/plan", json={"inputs": inputs})
            assert response.status_code == status, response.text
            run = door.client.post("/v1/runs", json={"graph": "audio2audio", "inputs": inputs})
            assert run.status_code == (202 if status == 200 else 422)


def test_a_run_is_accepted_without_reading_what_it_will_read(
    strict: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path, strict, executing=False) as door:
        asset = door.upload(sound()).json()["id"]
        monkeypatch.setattr(door.home.artifacts, "path", None)
        run = door.submit("audio2audio", {"reference": asset, "tags": "x"})
        assert run["inputs"]["reference"] == {"asset": asset}


def test_a_plan_reads_assets(door: Door) -> None:
    asset = door.upload(sound()).json()["id"]
    answer = door.client.post("/v1/graphs/audio2audio/plan", json={"inputs": {"reference": asset, "tags": "x"}})
    assert answer.status_code == 200, answer.text
    assert answer.json()["inputs"]["reference"] == {"asset": asset}


def test_a_run_of_too_many_nodes_is_refused(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict, options=ApiOptions(nodes=20), executing=False) as door:
        for path, more in (("/v1/runs", {"graph": "batch-takes"}), ("/v1/graphs/batch-takes/plan", {})):
            for takes, accepted in ((2, True), (50, False)):
                inputs = {"tags": "piano", "duration": 1, "seeds": list(range(takes))}
                response = door.client.post(path, json={"inputs": inputs, **more})
                assert response.is_success is accepted, response.text
                assert accepted or "more than 20 nodes" in response.json()["error"]["message"]


def test_a_graph_as_json_may_hold_what_its_yaml_may(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict, options=ApiOptions(inline_graphs=True), executing=False) as door:
        source = door.upload(sound()).json()["id"]
        for text in ("\U0001f3b5", "\x7f", "no", "1:30"):
            graph = {**TRIM, "summary": text}
            assert door.client.post("/v1/graphs:check", json={"graph": graph}).json()["ok"]
            run = door.submit(graph, {"source": source})
            assert run["state"] == "queued"
        long_name = {**TRIM, "nodes": {"cut": {"stage": "encode_lyrics", "with": {"lyrics": "", "adapter": "x" * 300}}}}
        refused = door.client.post("/v1/graphs:check", json={"graph": long_name}).json()
        assert any("300 bytes" in problem["message"] for problem in refused["problems"])
