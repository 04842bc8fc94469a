"""OpenAI's SDK, unmodified, against a server with acestep-nano."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import soundfile

from acestep_flows.api.options import ApiOptions
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.embedded import NAME
from tests.api.door import Door, opened
from tests.compat.songs import KEYS, SECONDS, STEPS, root_of

WORDS = "<prompt>lofi, piano</prompt><lyrics>[verse]\nrain on the window</lyrics>"
LONG = {"inference_steps": 200, "audio_config": {"duration": 60}}


def short(format: str = "wav", **more: Any) -> dict[str, Any]:
    """Fields of a short song, as the SDK takes those that it does not know."""
    return {"inference_steps": STEPS, "audio_config": {"duration": SECONDS, "format": format}, **more}


def says(*parts: Any) -> list[Any]:
    return [{"role": "user", "content": list(parts) if len(parts) > 1 else parts[0]}]


def client_of(door: Door, key: str = "none", **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{root_of(door, 'openai')}/v1", api_key=key, max_retries=0, **options)


@pytest.fixture(scope="module")
def client(door: Door) -> Iterator[openai.OpenAI]:
    with client_of(door) as client:
        yield client


def file_of(audio: Any) -> bytes:
    """The bytes of one song of an answer."""
    kind, _, content = audio["audio_url"]["url"].partition(";base64,")
    assert kind.startswith("data:audio/")
    return base64.b64decode(content, validate=True)


def songs_of(raw: Any) -> list[Any]:
    """The songs of an answer, in the form of 1.5, for which the SDK has no type."""
    songs = raw.http_response.json()["choices"][0]["message"]["audio"]
    assert isinstance(songs, list)
    return songs


def seconds_of(content: bytes) -> float:
    return float(soundfile.info(io.BytesIO(content)).duration)


def test_models_are_listed(door: Door, client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [NAME]
    assert client.models.retrieve(NAME).owned_by == "acestep_flows"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("ace-step/other")
    root = root_of(door, "openai")
    assert door.client.get(f"{root}/health").json()["status"] == "ok"
    listed = door.client.get(f"{root}/api/v1/models").json()
    assert (listed["object"], listed["code"], listed["data"][0]["id"]) == ("list", 200, NAME)


def test_a_chat_makes_songs(door: Door, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="any", messages=says(WORDS), seed=7, temperature=0.7, extra_body=short(batch_size=2, thinking=True)
    )
    answer: Any = raw.parse()
    (choice,) = answer.choices
    assert (answer.object, answer.model, choice.finish_reason) == ("chat.completion", NAME, "stop")
    assert answer.id == f"chatcmpl-{answer.run.removeprefix('run-')}"
    assert answer.usage.total_tokens == 0
    first, second = (file_of(audio) for audio in songs_of(raw))
    assert first != second
    assert seconds_of(first) == pytest.approx(SECONDS, abs=0.1)
    content = choice.message.content
    assert content.startswith(f"## Metadata\n**Caption:** lofi, piano\n**Duration:** {SECONDS}s\n**Seed:** 7, 8\n")
    assert "## Lyrics\n[verse]\nrain on the window\n\n## Warnings\n" in content
    assert [line.partition("=")[0] for line in answer.warnings][:2] == ["model", "thinking"]
    run = door.client.get(f"/v1/runs/{answer.run}").json()
    assert (run["graph"], run["inputs"]["seeds"], run["inputs"]["steps"]) == ("batch-takes", [7, 8], STEPS)


def test_audio_comes_in_openais_own_form(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=NAME,
        messages=says(WORDS),
        modalities=["text", "audio"],
        audio={"voice": "alloy", "format": "wav"},
        seed=7,
        extra_body={"inference_steps": STEPS, "audio_config": {"duration": SECONDS}},
    )
    audio = answer.choices[0].message.audio
    assert audio is not None
    assert seconds_of(base64.b64decode(audio.data)) == pytest.approx(SECONDS, abs=0.1)
    assert audio.transcript == "[verse]\nrain on the window"
    assert audio.expires_at > time.time()


def test_a_chat_is_streamed(door: Door, client: openai.OpenAI) -> None:
    chunks: list[Any] = list(
        client.chat.completions.create(model=NAME, messages=says(WORDS), seed=7, stream=True, extra_body=short())
    )
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert (deltas[0].role, deltas[0].content) == ("assistant", "Generating music")
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    text = "".join(delta.content or "" for delta in deltas)
    assert "**Seed:** 7" in text
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    body = {"messages": says(WORDS), "seed": 7, "stream": True, **short()}
    text = door.client.post(f"{root_of(door, 'openai')}/v1/chat/completions", json=body).text
    *events, done, end = [event.removeprefix("data: ") for event in text.split("\n\n")]
    assert (done, end) == ("[DONE]", "")
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events]
    (songs,) = [delta["audio"] for delta in deltas if "audio" in delta]
    assert seconds_of(file_of(songs[0])) == pytest.approx(SECONDS, abs=0.1)


def test_a_song_is_changed_in_the_next_message(door: Door, client: openai.OpenAI, tone: Path) -> None:
    """The audio of an answer goes back as it came; a file goes as OpenAI has it."""
    data = base64.b64encode(tone.read_bytes()).decode()
    part: Any = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    near: Any = client.chat.completions.with_raw_response.create(
        model=NAME, messages=says({"type": "text", "text": WORDS}, part), extra_body={"inference_steps": STEPS}
    )
    run = door.client.get(f"/v1/runs/{near.parse().run}").json()
    assert (run["graph"], run["inputs"]["strength"]) == ("audio2audio", 0.5)
    part = songs_of(near)[0]
    body = {"inference_steps": STEPS, "task_type": "repaint", "repainting_start": 0.5, "repainting_end": 1}
    changed: Any = client.chat.completions.create(
        model=NAME, messages=says({"type": "text", "text": WORDS}, part), extra_body=body
    )
    run = door.client.get(f"/v1/runs/{changed.run}").json()
    assert (run["graph"], run["inputs"]["span"]) == ("repaint", {"start": 0.5, "end": 1.0})


def test_speech_is_sung(client: openai.OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="tts-1",
        voice="alloy",
        input="[verse]\nla la",
        instructions="lofi, piano",
        response_format="wav",
        extra_body={"duration": SECONDS, "inference_steps": STEPS},
    ) as answer:
        assert seconds_of(answer.read()) == pytest.approx(SECONDS, abs=0.1)
        assert answer.headers["content-type"] == "audio/wav"
        assert answer.headers["x-run-id"].startswith("run-")
        assert "voice=" in answer.headers["x-warnings"]


@pytest.mark.parametrize(
    ("messages", "body", "param"),
    [
        ([], {}, "messages"),
        (says(""), {}, "messages"),
        (says(WORDS), {"audio_config": {"duration": 600}}, "audio_config.duration"),
        (says(WORDS), {"task_type": "lego"}, "task_type"),
        (says(WORDS), {"seed": "x"}, "seed"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_is_told_by_its_name(
    client: openai.OpenAI, messages: Any, body: dict[str, Any], param: str, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=NAME, messages=messages, stream=stream, extra_body=body)
    assert (refused.value.param, refused.value.type) == (param, "invalid_request_error")
    assert param.rpartition(".")[2] in refused.value.response.json()["detail"]


def test_the_format_of_speech_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="response_format"):
        client.audio.speech.create(model=NAME, voice="x", input="la", response_format="opus")


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_stops_its_song(door: Door, stream: bool) -> None:
    body = {"model": NAME, "messages": says(WORDS), "stream": stream, **LONG}
    url = f"{root_of(door, 'openai')}/v1/chat/completions"
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(url, json=body, timeout=httpx2.Timeout(10, read=0.7))
    (run,) = door.client.get("/v1/runs?limit=1").json()["runs"]
    assert door.until(run["id"])["state"] == "cancelled"


def test_a_client_with_a_key_of_idempotency_comes_again(door: Door) -> None:
    body = {"model": NAME, "messages": says(WORDS), "stream": True, **short()}
    headers = {"Idempotency-Key": "the rain again"}
    url = f"{root_of(door, 'openai')}/v1/chat/completions"
    with httpx2.Client() as client, client.stream("POST", url, json=body, headers=headers):
        pass
    (run,) = door.client.get("/v1/runs?limit=1").json()["runs"]
    assert door.until(run["id"])["state"] == "succeeded"
    again = door.client.post(url, json={**body, "stream": True}, headers=headers)
    assert run["id"] in again.text


def test_a_song_that_is_stopped_elsewhere_is_told(door: Door, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model=NAME, messages=says(WORDS), stream=True, extra_body=LONG)
    next(stream)
    (run,) = door.client.get("/v1/runs?limit=1").json()["runs"]
    door.client.delete(f"/v1/runs/{run['id']}")
    with pytest.raises(openai.APIError, match="cancelled"):
        list(stream)


def test_a_song_that_takes_longer_is_not_made_twice(nano: Checkpoint, tmp_path: Path) -> None:
    """The SDK sends a request again after most errors above 499, but not after this one."""
    options = ApiOptions(speak=("openai",), render_seconds=0.2)
    with opened(tmp_path, nano, options=options, executing=False) as door, client_of(door) as client:
        client.max_retries = 2
        with pytest.raises(openai.InternalServerError, match="it goes on") as told:
            client.chat.completions.create(model=NAME, messages=says(WORDS))
        assert told.value.status_code == 504
        (run,) = door.client.get("/v1/runs").json()["runs"]
        assert told.value.response.json()["run"] == run["id"]


@pytest.mark.parametrize("key", ["none", "wrong"])
def test_no_song_without_a_key(keyed: Door, key: str) -> None:
    with client_of(keyed, key) as client:
        with pytest.raises(openai.AuthenticationError):
            client.models.list()
        with pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(model=NAME, messages=says(WORDS), extra_body=short())
        with pytest.raises(openai.AuthenticationError):
            client.audio.speech.create(model=NAME, voice="x", input="la")


def test_callers_with_keys_do_not_see_each_other(keyed: Door) -> None:
    alice, bob = (client_of(keyed, key) for key in KEYS.values())
    with alice, bob:
        answer: Any = alice.chat.completions.create(model=NAME, messages=says(WORDS), extra_body=short())
        headers = {"Authorization": f"Bearer {KEYS['bob']}"}
        assert keyed.client.get(f"/v1/runs/{answer.run}", headers=headers).status_code == 404
        output = keyed.client.get(
            f"/v1/runs/{answer.run}", headers={"Authorization": f"Bearer {KEYS['alice']}"}
        ).json()["outputs"]["audio"]
        part: Any = {"type": "audio_url", "audio_url": {"url": output["asset"]}}
        with pytest.raises(openai.NotFoundError):
            bob.chat.completions.create(
                model=NAME, messages=says({"type": "text", "text": WORDS}, part), extra_body=short()
            )
