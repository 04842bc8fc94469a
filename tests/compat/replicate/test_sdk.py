"""Replicate's own SDK, unmodified, against a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.api.door import Door
from tests.compat.receiver import Receiver, receiver
from tests.compat.sdks import closing
from tests.compat.songs import KEYS, WEBHOOK_SECRET, own_song, root_of

replicate = pytest.importorskip("replicate")

MODEL = "lucataco/ace-step"
VERSION = "280fc4f9ee507577f880a167f639c02622421d8fecf492454320311217b688f1"
PINNED = f"{MODEL}:{VERSION}"
SONG = {"tags": "lofi, piano", "duration": 2, "number_of_steps": 10, "seed": 7}
LONG = {"tags": "lofi", "duration": 60, "number_of_steps": 200, "scheduler": "heun"}
PATIENCE = 60.0


@pytest.fixture
def sdk() -> Iterator[Any]:
    """Makes a client of a door, with a key."""
    with closing() as keep:
        yield lambda door, key="none": keep(replicate.Client(api_token=key, base_url=root_of(door, "replicate")))


@pytest.fixture
def client(door: Door, sdk: Any) -> Any:
    return sdk(door)


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as one:
        yield one


def waited(prediction: Any) -> Any:
    end = time.monotonic() + PATIENCE
    while prediction.status not in ("succeeded", "failed", "canceled"):
        assert time.monotonic() < end, prediction
        time.sleep(0.05)
        prediction.reload()
    return prediction


def is_wav(url: str) -> bool:
    return httpx2.get(url).content.startswith(b"RIFF")


@pytest.mark.parametrize("ref", [PINNED, MODEL])
def test_run_returns_the_song(client: Any, ref: str) -> None:
    assert is_wav(str(client.run(ref, input=SONG)))


def test_a_model_with_a_list_of_songs_returns_a_list(client: Any) -> None:
    sent = {"prompt": "lofi", "duration": 1, "inference_steps": 2, "batch_size": 2, "seed": 3, "audio_format": "wav"}
    urls = client.run("fishaudio/ace-step-1.5", input=sent)
    assert [is_wav(str(url)) for url in urls] == [True, True]


def test_a_file_is_uploaded_for_an_input(client: Any, door: Door, tone: Path) -> None:
    with tone.open("rb") as file:
        sent = {"tags": "jazz", "number_of_steps": 10, "audio": file, "ref_audio_strength": 0.4}
        prediction = waited(client.predictions.create(version=PINNED, input=sent))
    assert prediction.status == "succeeded", prediction.error
    run = door.client.get(f"/v1/runs/{prediction.id}").json()
    assert (run["graph"], run["inputs"]["strength"]) == ("audio2audio", 0.4)
    assert prediction.input["audio"].endswith(run["inputs"]["reference"]["asset"])


def test_files_are_kept(client: Any, tone: Path) -> None:
    made = client.files.create(tone, metadata={"take": 3})
    assert (made.size, made.content_type, made.name) == (tone.stat().st_size, "audio/wav", "tone.wav")
    kept = client.files.get(made.id)
    assert (kept.checksums, kept.metadata) == (made.checksums, {"take": 3})


def test_a_prediction_is_followed(client: Any) -> None:
    prediction = client.predictions.create(model=MODEL, input={**SONG, "seed": -1, "guidance_scale": 15})
    assert (prediction.status, prediction.model, prediction.version) == ("starting", MODEL, VERSION)
    assert prediction.input["seed"] >= 0
    waited(prediction)
    assert prediction.logs.startswith("warning: guidance_scale=15: used")
    assert prediction.progress.percentage == 1.0
    assert prediction.metrics["predict_time"] > 0
    assert is_wav(prediction.output)
    listed = client.predictions.list()
    assert prediction.id in [one.id for one in listed]


def test_pages_of_predictions_follow_each_other(door: Door, sdk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acestep_flows.compat.replicate.family.PAGE", 1)
    own_song(door, seed=31)
    own_song(door, seed=32)
    client = sdk(door)
    first = client.predictions.list()
    second = client.predictions.list(first.next)
    assert [one.input["seed"] for one in (*first, *second)] == [32, 31]
    assert first.results[0].model == "acestep_flows/text2music"


def test_a_prediction_is_cancelled(client: Any) -> None:
    prediction = client.predictions.create(version=VERSION, input=LONG)
    prediction.cancel()
    assert waited(prediction).status == "canceled"
    assert prediction.error is None


def test_a_request_that_waits_too_briefly_is_starting(door: Door) -> None:
    """Clients take any other status for an end."""
    root = root_of(door, "replicate")
    body = {"version": VERSION, "input": LONG}
    answer = door.client.post(f"{root}/v1/predictions", json=body, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["status"]) == (201, "starting")
    run = door.until(answer.json()["id"], "running")
    now = door.client.get(answer.json()["urls"]["get"]).json()
    assert now["status"] == "processing"
    door.client.post(now["urls"]["cancel"])
    door.until(run["id"])


def test_a_graph_of_ours_is_a_model(client: Any, door: Door, tone: Path) -> None:
    graph = door.client.get("/v1/graphs/repaint").json()
    version = client.models.get("acestep_flows/repaint").latest_version
    assert (
        graph["inputs"]["properties"].keys()
        == version.openapi_schema["components"]["schemas"]["Input"]["properties"].keys()
    )
    with tone.open("rb") as file:
        sent = {"source": file, "tags": "jazz", "span": {"start": 0.5, "end": 1}, "steps": 2}
        prediction = waited(client.predictions.create(version=version, input=sent))
    assert prediction.status == "succeeded", prediction.error
    assert prediction.model == "acestep_flows/repaint"


def test_webhooks_are_predictions_signed_as_the_sdk_checks(client: Any, hook: Receiver) -> None:
    prediction = client.predictions.create(version=VERSION, input=LONG, webhook=hook.url)
    secret = replicate.webhook.WebhookSigningSecret(key=WEBHOOK_SECRET)
    ids = set()
    for status in ("processing", "canceled"):
        headers, body, text = hook.first(status)
        assert body["id"] == prediction.id
        replicate.webhook.Webhooks.validate(headers=headers, body=text, secret=secret)
        ids.add(headers["webhook-id"])
        prediction.cancel()
    assert len(ids) == 2


def test_webhooks_are_filtered(client: Any, hook: Receiver) -> None:
    client.predictions.create(version=VERSION, input=SONG, webhook=hook.url, webhook_events_filter=["completed"])
    _, body, _ = hook.first("succeeded")
    assert is_wav(body["output"])
    started = client.predictions.create(
        version=VERSION, input=LONG, webhook=hook.url, webhook_events_filter=["start", "logs"]
    )
    assert "webhook_events_filter=text 'logs': not sent" in started.logs
    hook.first("processing")
    started.cancel()
    waited(started)
    time.sleep(1.5)
    assert [headers["webhook-id"] == f"{started.id}.start" for headers, _ in hook.calls] == [False, True]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"version": VERSION, "input": {**SONG, "colour": 1}}, 422, "colour: no such field"),
        ({"version": VERSION, "input": {**SONG, "duration": 600}}, 422, "duration: 600"),
        ({"version": VERSION, "input": [1]}, 422, "input: "),
        ({"version": VERSION, "input": SONG, "webhook": "ftp://a"}, 422, "webhook: "),
        ({"version": VERSION, "input": SONG, "webhook_events_filter": ["end"]}, 422, "webhook_events_filter: "),
        ({"version": "0" * 64, "input": SONG}, 404, "no version"),
        ({"version": f"{MODEL}:{'0' * 64}", "input": SONG}, 404, "has no version"),
        ({"version": "someone/else", "input": SONG}, 404, "no model"),
        ({"version": "acestep_flows/none", "input": SONG}, 404, "none"),
        ({"input": SONG}, 422, "version: missing"),
    ],
)
def test_a_refusal_names_what_is_wrong(door: Door, body: dict[str, Any], status: int, said: str) -> None:
    answer = door.client.post(f"{root_of(door, 'replicate')}/v1/predictions", json=body)
    content = answer.json()
    assert (answer.status_code, content["status"]) == (status, status)
    assert said in content["detail"]
    assert content["title"]


def test_the_sdk_reads_refusals(client: Any) -> None:
    with pytest.raises(replicate.exceptions.ReplicateError) as refused:
        client.run(PINNED, input={**SONG, "scheduler": "dpm"})
    assert (refused.value.status, refused.value.title) == (422, "Input validation failed")
    assert refused.value.detail.startswith("scheduler: ")


def test_callers_see_their_own_alone(keyed: Door, sdk: Any, tone: Path) -> None:
    alice, bob = (sdk(keyed, key) for key in KEYS.values())
    prediction = waited(alice.predictions.create(version=VERSION, input=SONG))
    assert is_wav(prediction.output)  # by its signature, without a key
    uploaded = alice.files.create(tone)
    assert prediction.id not in [one.id for one in bob.predictions.list()]
    asks: list[Callable[[], Any]] = [
        lambda: bob.predictions.get(prediction.id),
        lambda: bob.predictions.cancel(prediction.id),
        lambda: bob.files.get(uploaded.id),
        lambda: bob.predictions.create(version=VERSION, input={**SONG, "audio": uploaded.urls["get"]}),
    ]
    for ask in asks:
        with pytest.raises(replicate.exceptions.ReplicateError) as refused:
            ask()
        assert refused.value.status == 404
    with pytest.raises(replicate.exceptions.ReplicateError) as refused:
        sdk(keyed, "wrong").predictions.list()
    assert (refused.value.status, refused.value.title) == (401, "Unauthenticated")
    old = {"Authorization": f"Token {KEYS['alice']}"}
    assert keyed.client.get(f"{root_of(keyed, 'replicate')}/v1/predictions", headers=old).status_code == 200
