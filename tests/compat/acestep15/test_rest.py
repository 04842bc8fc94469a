"""1.5's REST on a server with acestep-nano: every route, with and without keys, and the requests that clients send."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
import soundfile

from acestep_flows.model.embedded import NAME
from tests.api.door import Door
from tests.compat.acestep15.bodies import of_page, task
from tests.compat.songs import KEYS, SECONDS, own_song, root_of

PATIENCE = 60.0
TITLE = "[verse]\nrain on the window"


@pytest.fixture(scope="module")
def root(door: Door) -> str:
    return root_of(door, "acestep15")


def data_of(response: httpx2.Response) -> Any:
    """The data of a success, whose envelope is looked at."""
    content = response.json()
    assert response.status_code == 200, content
    assert {"data", "code", "error", "timestamp", "extra"} <= content.keys()
    assert (content["code"], content["error"], content["extra"]) == (200, None, None)
    assert abs(content["timestamp"] / 1000 - time.time()) < 60
    return content["data"]


def fault_of(response: httpx2.Response, status: int) -> str:
    """The text of an error, which stands under both names."""
    content = response.json()
    assert response.status_code == status, content
    assert content["data"] is None
    assert content["code"] == status
    assert content["detail"] == content["error"]
    return str(content["error"])


def released(client: httpx2.Client, root: str, **kwargs: Any) -> dict[str, Any]:
    data: dict[str, Any] = data_of(client.post(f"{root}/release_task", **kwargs))
    return data


def ended(client: httpx2.Client, root: str, id: str, **kwargs: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ask until a task is over, as clients do."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        (found,) = data_of(client.post(f"{root}/query_result", json={"task_id_list": [id]}, **kwargs))
        assert found["task_id"] == id
        items = json.loads(found["result"])
        if found["status"]:
            return found, items
        assert items[0]["file"] == ""
        assert 0 <= items[0]["progress"] <= 1
        assert items[0]["stage"]
        time.sleep(0.05)
    raise AssertionError("the task does not end")


def test_a_song_comes_from_task_to_file(door: Door, root: str) -> None:
    body = task(bpm=72, key_scale="A minor", audio_format="wav")
    accepted = released(door.client, root, json=body)
    assert accepted["status"] == "queued"
    assert accepted["queue_position"] >= 1
    found, (item,) = ended(door.client, root, accepted["task_id"])
    assert found["status"] == item["status"] == 1
    assert item["file"].startswith("/v1/audio?path=asset-")
    assert item["file"].endswith(".wav")
    assert (item["seed_value"], item["prompt"]) == ("7", "lofi, piano, 72 bpm, A minor")
    assert item["lyrics"] == TITLE
    assert (item["metas"]["bpm"], item["metas"]["keyscale"], item["metas"]["timesignature"]) == (72, "A minor", "")
    assert (item["env"], item["wave"], item["lm_model"], item["dit_model"]) == ("production", "", "", NAME)
    assert (item["progress"], item["error"]) == (1, None)
    assert all(line in item["generation_info"] for line in accepted["warnings"])
    file = door.client.get(f"{root}{item['file']}")
    assert file.headers["content-type"] == "audio/wav"
    assert soundfile.info(io.BytesIO(file.content)).duration == pytest.approx(SECONDS, abs=0.1)
    part = door.client.get(f"{root}{item['file']}", headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, file.content[:4])
    assert "etag" in file.headers
    assert door.client.head(f"{root}{item['file']}").headers["content-length"] == str(len(file.content))


def test_a_page_gets_a_batch_from_its_form(door: Door, root: str) -> None:
    """All numbers are texts, and the ids are asked for in a form too."""
    accepted = released(door.client, root, data=of_page())
    _, items = ended(door.client, root, accepted["task_id"])
    assert len({item["seed_value"] for item in items}) == len({item["file"] for item in items}) == 2
    assert all(item["file"].endswith(".mp3") for item in items)
    asked = door.client.post(f"{root}/query_result", data={"task_id_list": json.dumps([accepted["task_id"]])})
    assert data_of(asked)[0]["status"] == 1


def test_json_comes_under_any_type_and_name(door: Door, root: str) -> None:
    body = json.dumps({"caption": "lofi", "param_obj": {"audioDuration": 0}})
    for kind in ("text/plain", "application/vnd.x+json", "application/x-www-form-urlencoded"):
        answer = door.client.post(f"{root}/release_task", content=body, headers={"Content-Type": kind})
        assert fault_of(answer, 400).startswith("audioDuration: 0")


def test_audio_comes_with_the_form(door: Door, root: str, tone: Path) -> None:
    form = {"task_type": "cover", "prompt": "jazz", "audio_cover_strength": "0.4", "inference_steps": "3"}
    accepted = released(door.client, root, data=form, files={"src_audio": ("tone.wav", tone.read_bytes())})
    run = door.client.get(f"/v1/runs/{accepted['task_id']}").json()
    assert (run["graph"], run["inputs"]["strength"], run["inputs"]["steps"]) == ("audio2audio", 0.4, 3)
    _, (item,) = ended(door.client, root, accepted["task_id"])
    assert item["metas"]["duration"] == pytest.approx(2.0, abs=0.1)


def test_a_result_is_the_source_of_the_next_task(door: Door, root: str) -> None:
    made = own_song(door)["outputs"]["audio"]["asset"]
    sources = [f"/v1/audio?path={made}.wav", made, f"{root}/v1/audio?path={made}.wav"]
    spans: list[dict[str, Any]] = [{}, {"repainting_end": 1}, {"repainting_end": SECONDS + 1.0}]
    for source, more in zip(sources, spans, strict=True):
        body = {"task_type": "repaint", "prompt": "jazz", "src_audio_path": source, "inference_steps": 3, **more}
        accepted = released(door.client, root, json=body)
        run = door.client.get(f"/v1/runs/{accepted['task_id']}").json()
        assert run["graph"] == ("extend" if more.get("repainting_end", 0) > SECONDS else "repaint")
        door.client.post(f"{root}/cancel_task", json={"task_id": accepted["task_id"]})


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "outputs/song.wav", "../x.wav", "https://a.example/a.wav", "C:\\a.wav"]
)
def test_no_path_of_the_servers_disk_is_read(door: Door, root: str, path: str) -> None:
    body = task(task_type="cover", src_audio_path=path)
    assert fault_of(door.client.post(f"{root}/release_task", json=body), 400).startswith("src_audio_path: ")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/etc/passwd", 403),
        ("../asset.wav", 403),
        ("asset-x/../y", 403),
        ("C:\\song.wav", 403),
        ("song.wav", 404),
        (f"asset-{'0' * 26}.wav", 404),
        ("", 404),
    ],
)
def test_files_are_named_by_id_alone(door: Door, root: str, path: str, status: int) -> None:
    fault_of(door.client.get(f"{root}/v1/audio", params={"path": path}), status)


def test_ids_that_nobody_knows_have_failed(door: Door, root: str) -> None:
    ids = ["task-1", f"run-{'0' * 26}", ""]
    for sent in (ids, json.dumps(ids)):
        found = data_of(door.client.post(f"{root}/query_result", json={"task_id_list": sent}))
        assert [(one["task_id"], one["status"]) for one in found] == [(id, 2) for id in ids]
        assert all(one["error"] and json.loads(one["result"])[0]["error"] for one in found)


@pytest.mark.parametrize("sent", [None, 3, "[", [1], {"a": 1}, ["x"] * 1000])
def test_what_are_no_ids_is_refused(door: Door, root: str, sent: Any) -> None:
    fault = fault_of(door.client.post(f"{root}/query_result", json={"task_id_list": sent}), 400)
    assert fault.startswith("task_id_list: ")


def test_a_task_is_stopped(door: Door, root: str) -> None:
    id = released(door.client, root, json=task(audio_duration=60, inference_steps=200))["task_id"]
    assert data_of(door.client.post(f"{root}/cancel_task", json={"task_id": id}))["task_id"] == id
    found, (item,) = ended(door.client, root, id)
    assert (found["status"], found["error"], item["error"]) == (2, "cancelled", "cancelled")
    fault_of(door.client.post(f"{root}/cancel_task", json={"task_id": "x"}), 404)
    fault_of(door.client.post(f"{root}/cancel_task", json={}), 400)


@pytest.mark.parametrize("content", [b"[1]", b"{", b'"x"', b"\xff"])
def test_what_is_no_body_is_refused(door: Door, root: str, content: bytes) -> None:
    fault_of(door.client.post(f"{root}/release_task", content=content), 400)


def test_all_faults_are_told_at_once(door: Door, root: str) -> None:
    fault = fault_of(door.client.post(f"{root}/release_task", json=task(seed="x", task_type="lego")), 400)
    assert "seed" in fault
    assert "task_type" in fault


def test_the_server_tells_of_itself(door: Door, root: str) -> None:
    health = door.client.get(f"{root}/health")
    assert data_of(health)["loaded_model"] == NAME
    assert health.json()["status"] == data_of(health)["status"] == "ok"
    for path in ("/v1/models", "/api/v1/models"):
        answer = door.client.get(f"{root}{path}").json()
        assert answer["object"] == "list"
        (model,) = answer["data"]
        assert (model["id"], model["object"], model["is_loaded"]) == (NAME, "model", True)
    inventory = data_of(door.client.get(f"{root}/v1/model_inventory"))
    assert (inventory["default_model"], inventory["llm_initialized"]) == (NAME, False)
    assert inventory["models"][0]["supported_task_types"] == ["text2music", "cover", "repaint", "complete"]
    made = data_of(door.client.post(f"{root}/v1/init", json={"model": "x"}))
    assert made.pop("message")
    assert made == inventory
    jobs = data_of(door.client.get(f"{root}/v1/stats"))
    assert set(jobs) == {"jobs", "queue_size", "queue_maxsize", "avg_job_seconds"}
    assert set(jobs["jobs"]) == {"total", "queued", "running", "succeeded", "failed"}
    assert data_of(door.client.get(f"{root}/v1/lora/status")) == {
        "loaded": False,
        "adapters": [],
        "use_lora": False,
        "scale": 1.0,
    }
    sample = data_of(door.client.post(f"{root}/create_random_sample"))
    assert sample["caption"]
    assert sample["duration"] > 0


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/format_input"),
        ("POST", "/v1/create_sample"),
        ("POST", "/v1/lora/load"),
        ("POST", "/v1/lora/unload"),
        ("POST", "/v1/lora/toggle"),
        ("POST", "/v1/lora/scale"),
        ("POST", "/v1/dataset/scan"),
        ("GET", "/v1/training/status"),
    ],
)
def test_what_is_not_served_says_so(door: Door, root: str, method: str, path: str) -> None:
    assert fault_of(door.client.request(method, f"{root}{path}"), 501)


def test_two_equal_requests_are_two_songs(door: Door, root: str) -> None:
    one, two = (released(door.client, root, json=task())["task_id"] for _ in range(2))
    assert one != two


def test_no_song_without_a_key(keyed: Door) -> None:
    root = root_of(keyed, "acestep15")
    fault_of(keyed.client.post(f"{root}/release_task", json=task()), 401)
    fault_of(keyed.client.post(f"{root}/release_task", json=task(ai_token="wrong")), 401)
    fault_of(keyed.client.get(f"{root}/v1/stats"), 401)
    assert keyed.client.get(f"{root}/health").status_code == 200


@pytest.mark.parametrize("form", ["json", "data", "files"])
def test_callers_with_keys_do_not_see_each_other(keyed: Door, form: str) -> None:
    root = root_of(keyed, "acestep15")
    body = task(ai_token=KEYS["alice"])
    sent: dict[str, Any] = {"json": body} if form == "json" else {"data": body}
    if form == "files":
        sent["files"] = {"unused": ("x", b"")}
    id = released(keyed.client, root, headers={"Authorization": "Bearer wrong"}, **sent)["task_id"]
    _, (item,) = ended(keyed.client, root, id, headers={"Authorization": KEYS["alice"]})
    assert keyed.client.get(f"{root}{item['file']}").status_code == 200
    assert item["file"].count("?") == 1
    assert ".." not in item["file"]
    bare = item["file"].partition("&sig=")[0]
    assert bare != item["file"]
    fault_of(keyed.client.get(f"{root}{bare}"), 401)
    bob = {"Authorization": f"Bearer {KEYS['bob']}"}
    fault_of(keyed.client.get(f"{root}{bare}", headers=bob), 404)
    fault_of(keyed.client.get(f"{root}{bare}&sig=1.{'0' * 64}"), 404)
    (unknown,) = data_of(keyed.client.post(f"{root}/query_result", json={"task_id_list": [id]}, headers=bob))
    assert (unknown["status"], unknown["error"]) == (2, "no such task")
    fault_of(keyed.client.post(f"{root}/cancel_task", json={"task_id": id}, headers=bob), 404)
    source = task(task_type="cover", src_audio_path=item["file"])
    fault_of(keyed.client.post(f"{root}/release_task", json=source, headers=bob), 404)
    assert data_of(keyed.client.get(f"{root}/v1/stats", headers=bob))["jobs"]["total"] == 0
