"""A server that is killed while clients of every family have songs on their way: each gets its song by its own retry.

One server is killed once for all families, because its start takes long.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import openai
import pytest
from gradio_client import Client

from tests.compat.acestep15 import bodies as acestep15
from tests.compat.fal.sdk import sdk
from tests.compat.sdks import closing
from tests.compat.songs import root_of
from tests.compat.tls import tls_proxy
from tests.compat.v1 import bodies as v1
from tests.served.server import Server

PATIENCE = 120.0
SECONDS, STEPS = 10, 60
"""A song that is long enough for a server to be killed in its middle."""


class Waiting:
    """A client of v1's REST: it waits for its song, and asks again with the same key."""

    def __init__(self, server: Server, pool: ThreadPoolExecutor) -> None:
        self._url = f"{root_of(server, 'v1')}/generate"
        self._first: Future[httpx2.Response] = pool.submit(self._ask)

    def _ask(self) -> httpx2.Response:
        body = v1.infer(audio_duration=SECONDS, infer_step=STEPS, actual_seeds=[1])
        return httpx2.post(self._url, json=body, headers={"Idempotency-Key": "the rain"}, timeout=PATIENCE)

    def song(self) -> str:
        """The address of its song, after the server was started again."""
        with pytest.raises(httpx2.TransportError):
            self._first.result()
        answer = self._ask()
        assert answer.status_code == 200, answer.text
        return str(answer.json()["output_path"])


class Polling:
    """A client of 1.5: it submits once, and asks until the task has ended, whatever happens to the server."""

    def __init__(self, server: Server, pool: ThreadPoolExecutor) -> None:
        self._root = root_of(server, "acestep15")
        body = acestep15.task(audio_duration=SECONDS, inference_steps=STEPS, seed=2)
        self._id = httpx2.post(f"{self._root}/release_task", json=body).json()["data"]["task_id"]

    def song(self) -> str:
        """The address of its song, likewise."""

        def task() -> dict[str, Any]:
            answer = httpx2.post(f"{self._root}/query_result", json={"task_id_list": [self._id]}, timeout=10)
            found: dict[str, Any] = answer.json()["data"][0]
            assert found["status"] < 2, found
            return found

        (item,) = json.loads(until(task, lambda found: found["status"] == 1)["result"])
        assert item["seed_value"] == "2"
        return f"{self._root}{item['file']}"


class Chatting:
    """OpenAI's SDK: it waits for its song, and sends its request again by itself until there is a server."""

    def __init__(self, server: Server, pool: ThreadPoolExecutor) -> None:
        self._root = root_of(server, "openai")
        self._answer: Future[Any] = pool.submit(self._ask)

    def _ask(self) -> Any:
        with openai.OpenAI(base_url=f"{self._root}/v1", api_key="none", max_retries=30, timeout=PATIENCE) as client:
            return client.chat.completions.create(
                model="acestep",
                messages=[{"role": "user", "content": "<prompt>lofi</prompt>"}],
                seed=3,
                extra_body={"inference_steps": STEPS, "audio_config": {"duration": SECONDS}},
                extra_headers={"Idempotency-Key": "the chat"},
            )

    def song(self) -> str:
        """The address of its song, likewise."""
        run = self._answer.result(PATIENCE).run
        return f"{self._root.partition('/compat')[0]}/v1/runs/{run}/outputs/audio"


class Paging:
    """Gradio's client: the call fails with its stream, and is made again."""

    def __init__(self, server: Server, pool: ThreadPoolExecutor) -> None:
        self._root = root_of(server, "gradio")
        self._client = Client(self._root, verbose=False, download_files=False, headers={"Idempotency-Key": "the page"})
        self._job = self._call()

    def _call(self) -> Any:
        song = {"audio_duration": SECONDS, "prompt": "lofi", "infer_step": STEPS, "manual_seeds": "4"}
        return self._client.submit(**song, api_name="/__call__")

    def song(self) -> str:
        """The address of its song, likewise."""
        with pytest.raises(Exception):  # noqa: B017, PT011  # whatever the client makes of a stream that breaks
            self._job.result(PATIENCE)
        file, parameters = self._call().result(PATIENCE)
        assert parameters["actual_seeds"] == [4]
        return str(file["url"])


class Predicting:
    """Replicate's SDK: it waits for a prediction, and asks again if its own retries are at their end."""

    def __init__(self, server: Server, pool: ThreadPoolExecutor) -> None:
        replicate = pytest.importorskip("replicate")
        self._open = ExitStack()
        keep = self._open.enter_context(closing())
        client = keep(replicate.Client(api_token="none", base_url=root_of(server, "replicate")))
        sent = {"tags": "lofi", "duration": SECONDS, "number_of_steps": STEPS, "seed": 3}
        self._prediction = client.predictions.create(model="lucataco/ace-step", input=sent)
        self._first: Future[None] = pool.submit(self._prediction.wait)

    def song(self) -> str:
        """The address of its song, likewise."""
        with self._open:
            if self._first.exception() is not None:
                self._prediction.wait()
        assert self._prediction.status == "succeeded", self._prediction.error
        return str(self._prediction.output)


class Subscribed:
    """fal's SDK behind a proxy: it asks for the result, and again if its own retries are at their end."""

    def __init__(self, server: Server, pool: ThreadPoolExecutor) -> None:
        pytest.importorskip("fal_client")
        self._open = ExitStack()
        folder = Path(self._open.enter_context(TemporaryDirectory()))
        proxy = self._open.enter_context(tls_proxy(server.url, folder))
        fal = sdk(proxy, self._open.enter_context(pytest.MonkeyPatch.context()))
        sent = {"tags": "lofi", "duration": SECONDS, "number_of_steps": STEPS, "seed": 4}
        self._address, self._host = server.url, f"https://{proxy.host}"
        client = self._open.enter_context(closing())(fal.SyncClient(key="none"))
        self._request = client.submit("fal-ai/ace-step", arguments=sent)
        self._first: Future[Any] = pool.submit(self._request.get)

    def song(self) -> str:
        """The address of its song, likewise."""
        with self._open:
            result = self._request.get() if self._first.exception() is not None else self._first.result()
        return str(result["audio"]["url"]).replace(self._host, self._address)


FLOWS = (Waiting, Polling, Chatting, Paging, Predicting, Subscribed)


def test_clients_get_their_songs_from_a_killed_server(server: Server) -> None:
    with ThreadPoolExecutor(len(FLOWS)) as pool:
        with server.client() as client:
            before = {run.id for run in client.runs(limit=100)}
            flows = [flow(server, pool) for flow in FLOWS]

            def new() -> list[Any]:
                return [run for run in client.runs(limit=100) if run.id not in before]

            until(new, lambda runs: len(runs) == len(FLOWS) and any(run.progress > 0 for run in runs))
            assert not all(run.ended for run in new())
        server.kill()
        server.start()
        for flow in flows:
            assert httpx2.get(flow.song()).status_code == 200
    with server.client() as client:
        assert len({run.id for run in client.runs(limit=100)} - before) == len(FLOWS), "no song was made twice"


def until(ask: Callable[[], Any], is_so: Callable[[Any], bool]) -> Any:
    """What `ask` gives as soon as it is so."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if is_so(found := ask()):
            return found
        time.sleep(0.05)
    raise AssertionError(f"not so within {PATIENCE:g} s: {found}")
