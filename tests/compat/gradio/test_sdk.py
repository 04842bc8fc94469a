"""gradio_client, unmodified, against a server with acestep-nano."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
import soundfile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AuthenticationError, ValidationError

from tests.api.door import Door
from tests.compat.songs import KEYS, SECONDS, STEPS, root_of

WORDS = {"prompt": "lofi, piano", "lyrics": "[verse]\nrain on the window"}
SONG = {"audio_duration": SECONDS, **WORDS, "infer_step": STEPS, "manual_seeds": "7"}


def client_of(door: Door, folder: Path, **options: Any) -> Client:
    return Client(root_of(door, "gradio"), verbose=False, download_files=str(folder), **options)


@pytest.fixture(scope="module")
def client(door: Door, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return client_of(door, tmp_path_factory.mktemp("downloads"))


@pytest.fixture(scope="module")
def song(client: Client) -> tuple[str, dict[str, Any]]:
    """A song, and its parameters."""
    path, parameters = client.predict(**SONG, api_name="/__call__")
    return path, parameters


def seconds_of(path: str) -> float:
    return float(soundfile.info(path).duration)


def last_run(door: Door) -> dict[str, Any]:
    (run,) = door.client.get("/v1/runs", params={"limit": 1, "inputs": True}).json()["runs"]
    assert isinstance(run, dict)
    return run


def test_the_functions_are_those_of_v1s_page(client: Client) -> None:
    described: Any = client.view_api(return_format="dict", print_info=False)
    assert list(described["named_endpoints"]) == [
        "/__call__",
        "/retake_process_func",
        "/repaint_process_func",
        "/edit_process_func",
        "/extend_process_func",
    ]
    parameters = described["named_endpoints"]["/__call__"]["parameters"]
    assert [one["parameter_name"] for one in parameters][:2] == ["audio_duration", "prompt"]
    assert parameters[-1]["parameter_name"] == "format"
    assert all(one["parameter_has_default"] for one in parameters)


def test_a_song_comes_with_its_parameters(door: Door, song: tuple[str, dict[str, Any]]) -> None:
    path, parameters = song
    assert path.endswith(".wav")
    assert seconds_of(path) == pytest.approx(SECONDS, abs=0.1)
    assert {name: parameters[name] for name in WORDS} == WORDS
    assert (parameters["actual_seeds"], parameters["infer_step"], parameters["format"]) == ([7], STEPS, "wav")
    assert (parameters["task"], parameters["guidance_scale"], parameters["cfg_type"]) == ("text2music", 3.0, "cfg")
    assert set(parameters["timecosts"]) == {"preprocess", "diffusion", "latent2audio"}
    assert parameters["audio_path"].startswith(parameters["asset"])
    run = door.client.get(f"/v1/runs/{parameters['run']}").json()
    assert run["outputs"]["latents"]["asset"] == parameters["latents"]
    assert run["labels"] == {}


def test_arguments_come_in_three_orders(client: Client) -> None:
    values = [SECONDS, *WORDS.values(), STEPS]
    own = client.predict(*values, manual_seeds="5", format="mp3", api_name="/__call__")
    v1 = client.predict("mp3", *values, manual_seeds="5", api_name="/__call__")
    whole = client.predict("mp3", *values, 15.0, "euler", "apg", 10.0, "5", api_name="/__call__")
    for path, parameters in (own, v1, whole):
        assert path.endswith(".mp3")
        assert (parameters["actual_seeds"], parameters["infer_step"], parameters["prompt"]) == (
            [5],
            STEPS,
            "lofi, piano",
        )


def test_several_seeds_are_in_the_parameters(client: Client) -> None:
    _, parameters = client.predict(**{**SONG, "manual_seeds": "1,2"}, api_name="/__call__")
    assert parameters["actual_seeds"] == [1, 2]
    assert len(set(parameters["audio_paths"])) == 2


def test_a_call_tells_how_far_it_is_and_is_stopped(door: Door, client: Client) -> None:
    job = client.submit(**{**SONG, "audio_duration": 60, "infer_step": 200}, api_name="/__call__")
    end = time.monotonic() + 30
    while not (units := job.status().progress_data) or not units[0].index:
        assert time.monotonic() < end, job.status()
        time.sleep(0.05)
    assert (units[0].length, units[0].unit) == (200, "steps")
    job.cancel()
    assert door.until(last_run(door)["id"])["state"] == "cancelled"


def test_calls_at_the_same_time_have_their_own_songs(client: Client) -> None:
    jobs = [client.submit(**{**SONG, "manual_seeds": str(seed)}, api_name="/__call__") for seed in (21, 22, 23)]
    assert [job.result()[1]["actual_seeds"] for job in jobs] == [[21], [22], [23]]


@pytest.mark.parametrize(
    ("changes", "field"), [({"audio_duration": 999}, "audio_duration"), ({"prompt": "", "lyrics": ""}, "prompt")]
)
def test_what_cannot_be_is_told_by_its_name(client: Client, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        client.predict(**{**SONG, **changes}, api_name="/__call__")


def test_a_file_is_uploaded_and_stayed_near(door: Door, client: Client, tone: Path) -> None:
    reference: Any = {"audio2audio_enable": True, "ref_audio_input": handle_file(tone)}
    path, parameters = client.predict(**{**SONG, "audio_duration": -1}, **reference, api_name="/__call__")
    assert seconds_of(path) == pytest.approx(2.0, abs=0.1)
    assert (parameters["task"], parameters["ref_audio_strength"]) == ("audio2audio", 0.5)
    assert parameters["ref_audio_input"].startswith("asset-")
    assert last_run(door)["graph"] == "audio2audio"


def test_tabs_start_from_the_parameters_of_a_song(client: Client, song: tuple[str, dict[str, Any]]) -> None:
    _, given = song
    _, retake = client.predict(json_data=given, retake_seeds="3", api_name="/retake_process_func")
    assert (retake["task"], retake["actual_seeds"], retake["retake_seeds"]) == ("retake", [7], [3])
    _, repainted = client.predict(
        json_data=given, repaint_start=0.5, repaint_end=1.0, prompt="jazz", api_name="/repaint_process_func"
    )
    assert (repainted["repaint_start"], repainted["repaint_end"], repainted["prompt"]) == (0.5, 1.0, "jazz")
    assert repainted["src_audio_path"] == given["latents"]
    _, edited = client.predict(
        json_data=repainted, edit_type="remix", edit_prompt="rock", edit_seeds="4", api_name="/edit_process_func"
    )
    assert (edited["task"], edited["edit_n_min"], edited["edit_n_max"], edited["prompt"]) == ("edit", 0.2, 0.4, "rock")
    _, longer = client.predict(json_data=edited, right_extend_length=1, api_name="/extend_process_func")
    assert (longer["task"], longer["repaint_start"]) == ("extend", 0)
    assert longer["audio_duration"] == pytest.approx(SECONDS + 1, abs=0.2)


def test_tabs_start_from_a_file(client: Client, song: tuple[str, dict[str, Any]]) -> None:
    path, _ = song
    source: Any = {"source_audio": handle_file(path), **WORDS, "infer_step": STEPS}
    _, longer = client.predict(left_extend_length=1, right_extend_length=0, **source, api_name="/extend_process_func")
    assert longer["repaint_start"] == -1
    with pytest.raises(ValidationError, match="source_audio"):
        client.predict(**WORDS, api_name="/edit_process_func")


@pytest.mark.parametrize("path", ["/etc/passwd", "outputs/song.wav", "../x.wav", "C:\\a.wav"])
def test_no_path_of_the_servers_disk_is_read(door: Door, path: str) -> None:
    root = root_of(door, "gradio")
    for value in (path, {"path": path, "meta": {"_type": "gradio.FileData"}}):
        data = [2, "lofi", "", *[None] * 15, True, 0.5, value]
        body = {"data": data, "fn_index": 0, "session_hash": "s"}
        answer = door.client.post(f"{root}/gradio_api/queue/join", json=body)
        assert (answer.status_code, answer.json()["detail"][0]["parameter_name"]) == (422, "ref_audio_input")
    assert door.client.get(f"{root}/gradio_api/file={path}").status_code in (403, 404)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": [], "fn_index": 5, "session_hash": "s"},
        {"data": [], "fn_index": "x", "session_hash": "s"},
        {"data": [1, "a"], "fn_index": 0, "session_hash": ""},
        {"data": [1, "a"], "fn_index": 0, "session_hash": 3},
        {"data": "x", "fn_index": 0, "session_hash": "s"},
    ],
)
def test_what_is_no_call_is_refused(door: Door, body: dict[str, Any]) -> None:
    assert door.client.post(f"{root_of(door, 'gradio')}/gradio_api/queue/join", json=body).status_code == 422


def test_a_session_without_calls_is_closed(door: Door) -> None:
    answer = door.client.get(f"{root_of(door, 'gradio')}/gradio_api/queue/data", params={"session_hash": "nobody"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert '"msg": "close_stream"' in answer.text
    assert "process_completed" not in answer.text


def test_what_is_done_otherwise_is_logged(door: Door) -> None:
    root = root_of(door, "gradio")
    body = {"data": [SECONDS, "lofi", "", STEPS, 7], "fn_index": 0, "session_hash": "told"}
    id = door.client.post(f"{root}/gradio_api/queue/join", json=body).json()["event_id"]
    text = door.client.get(f"{root}/gradio_api/queue/data", params={"session_hash": "told"}).text
    assert '"level": "warning"' in text
    assert "guidance_scale=7: used; this model's own value is 3" in text
    assert text.count('"msg": "process_completed"') == 1
    assert id in text


def test_no_call_without_a_key(keyed: Door, tmp_path: Path) -> None:
    with pytest.raises(AuthenticationError):
        client_of(keyed, tmp_path)


def test_callers_with_keys_do_not_see_each_other(keyed: Door, tmp_path: Path, tone: Path) -> None:
    alice, bob = ({"Authorization": f"Bearer {key}"} for key in KEYS.values())
    one, two = client_of(keyed, tmp_path, headers=alice), client_of(keyed, tmp_path, token=KEYS["bob"])
    path, parameters = one.predict(**SONG, api_name="/__call__")
    assert seconds_of(path) == pytest.approx(SECONDS, abs=0.1)
    root = f"{root_of(keyed, 'gradio')}/gradio_api"
    file = f"{root}/file={parameters['audio_path']}"
    assert [httpx2.get(file, headers=who).status_code for who in (alice, bob, {})] == [200, 404, 401]
    assert httpx2.get(f"{root}/upload").status_code == 405
    (uploaded,) = httpx2.post(f"{root}/upload", files={"files": ("t.wav", tone.read_bytes())}, headers=alice).json()
    assert httpx2.get(f"{root}/file={uploaded}", headers=bob).status_code == 404
    for given in ({"json_data": parameters}, {"source_audio": {"path": uploaded}, **WORDS}):
        with pytest.raises(ValidationError, match="no such asset|no asset"):
            two.predict(**given, api_name="/extend_process_func")
    body = {"data": [60, "lofi", "", 200], "fn_index": 0, "session_hash": "hers"}
    id = httpx2.post(f"{root}/queue/join", json=body, headers=alice).json()["event_id"]
    events = httpx2.get(f"{root}/queue/data", params={"session_hash": "hers"}, headers=bob).text
    assert id not in events
    assert httpx2.post(f"{root}/cancel", json={"event_id": id}, headers=bob).status_code == 404
    assert httpx2.post(f"{root}/cancel", json={"event_id": id}, headers=alice).json() == {"success": True}
    events = httpx2.get(f"{root}/queue/data", params={"session_hash": "hers"}, headers=alice).text
    assert '"success": false' in events
    assert "cancelled" in events
