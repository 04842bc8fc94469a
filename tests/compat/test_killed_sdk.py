"""A server that is killed while OpenAI's and Gradio's clients wait: their own retries get the songs."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from gradio_client import Client

from tests.compat.songs import root_of
from tests.served.server import Server

PATIENCE = 120.0
WORDS = "<prompt>lofi, piano</prompt><lyrics>[verse]\nrain</lyrics>"


def test_retries_get_the_songs_of_a_killed_server(server: Server, tmp_path: Path) -> None:
    with openai.OpenAI(
        base_url=f"{root_of(server, 'openai')}/v1", api_key="none", max_retries=40, timeout=PATIENCE
    ) as client:
        folder = str(tmp_path)
        page = Client(root_of(server, "gradio"), verbose=False, download_files=folder)
        call: Any = {"audio_duration": 20, "prompt": "jazz", "infer_step": 100, "manual_seeds": "8"}

        def chat() -> Any:
            return client.chat.completions.create(
                model="acestep-nano",
                messages=[{"role": "user", "content": WORDS}],
                seed=7,
                extra_body={"inference_steps": 100, "audio_config": {"duration": 20}},
                extra_headers={"Idempotency-Key": "the rain"},
            )

        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(chat)
            job = page.submit(**call, api_name="/__call__")
            runs = begun(server, 2)
            server.kill()
            with pytest.raises(Exception):  # noqa: B017, PT011  # whatever the client makes of a broken stream
                job.result(timeout=PATIENCE)
            server.start()
            again = Client(root_of(server, "gradio"), verbose=False, download_files=folder)
            path, parameters = again.predict(**call, api_name="/__call__")
            assert answer.result(PATIENCE).run in runs
    assert Path(path).stat().st_size > 0
    assert parameters["actual_seeds"] == [8]
    with server.client() as ours:
        assert {ours.wait(id).state for id in runs} == {"succeeded"}


def begun(server: Server, count: int) -> set[str]:
    """The ids of the runs, when the first of them samples."""
    end = time.monotonic() + PATIENCE
    with server.client() as client:
        while time.monotonic() < end:
            runs = list(client.runs(limit=count))
            if len(runs) == count and any(run.progress > 0 for run in runs):
                return {run.id for run in runs}
            time.sleep(0.05)
    raise AssertionError("no run has begun")
