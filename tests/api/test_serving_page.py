"""The programs of docs/serving.md for clients, uploads and webhooks run as they stand, with shorter songs."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import soundfile

from acestep_flows.api.execution.webhook_signature import sign
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import Door, opened, sound

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"


def block(language: str, heading: str, position: int = 0) -> str:
    """The code under a heading."""
    section = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", section, flags=re.DOTALL)
    return blocks[position]


def shortened(program: str) -> str:
    """A program with shorter songs and fewer steps."""
    short = program.replace('"duration": 10, ', '"duration": 1, "steps": 2, ').replace(
        '"span": [2, 5], ', '"span": [0.2, 0.5], "steps": 2, '
    )
    assert short != program
    return short


@pytest.fixture
def folder(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACESTEP_FLOWS_SERVER", door.url)
    return tmp_path


def test_the_client_finds_the_server_of_the_environment(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = shortened(block("python", "In Python"))
    assert "with Client() as client:" in program
    exec(compile(program, "docs/serving.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("accepted")
    assert lines[-1] == "succeeded"
    assert soundfile.info(folder / "song.wav").frames > 0


def test_several_runs_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = shortened(block("python", "Several runs at once"))
    exec(compile(program, "docs/serving.md", "exec"), {})
    assert capsys.readouterr().out == "song-1.flac song-2.flac\n"
    assert {path.name for path in folder.iterdir()} == {"song-1.flac", "song-2.flac"}


def test_uploads_by_curl_and_an_edit_of_one(door: Door, folder: Path) -> None:
    (folder / "song.wav").write_bytes(sound(3))
    script = (
        block("sh", "Uploads").replace("http://127.0.0.1:8777", door.url).replace('"seed": 8', '"seed": 8, "steps": 2')
    )
    done = subprocess.run(["bash", "-ec", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "run.json").read_text())["state"] == "succeeded"
    assert soundfile.info(folder / "repainted.flac").frames > 0
    assert (folder / "again.wav").read_bytes() == (folder / "song.wav").read_bytes()


def test_the_snippet_verifies_what_the_server_signs() -> None:
    made = subprocess.run(["bash", "-ec", block("sh", "Webhooks")], capture_output=True, text=True, check=True)
    secret = made.stdout.strip()
    assert secret.startswith("whsec_")
    namespace: dict[str, Any] = {}
    exec(compile(block("python", "Webhooks"), "docs/serving.md", "exec"), namespace)
    is_genuine, now = namespace["is_genuine"], int(time.time())
    for age, other, wanted in ((0, b"", True), (0, b" ", False), (1000, b"", False)):
        signature = sign(secret, "run-1", now - age, b"{}")
        headers = {"webhook-id": "run-1", "webhook-timestamp": str(now - age), "webhook-signature": signature}
        assert is_genuine(b"{}" + other, headers, secret) is wanted
        headers["webhook-signature"] = f"v1,AAAA {signature}"
        assert is_genuine(b"{}" + other, headers, secret) is wanted


def test_a_damaged_webhook_names_its_field(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict, executing=False, webhook_secret="a secret") as door:
        for webhook, field in (
            ("nowhere", "webhook"),
            ("http://127.0.0.1/hook", "webhook"),
            ("https://a.example/" + 2000 * "x", "webhook"),
            ("https://a.example/\0", "webhook"),
            ({"url": "nowhere"}, "webhook.url"),
            ({"url": "https://a.example/" + 2000 * "x"}, "webhook.url"),
            ({"uri": "x"}, "webhook.uri"),
            (5, "webhook"),
        ):
            response = door.client.post(
                "/v1/runs", json={"graph": "text2music", "inputs": {"tags": "x"}, "webhook": webhook}
            )
            error = response.json()["error"]
            assert (response.status_code, error["field"]) == (422, field)
            assert error["message"].startswith(f"{field}: ")
        run = {"graph": "text2music", "inputs": {"tags": "x", "seed": 1}, "idempotency_key": "k"}
        url = "https://a.example/h"
        first = door.client.post("/v1/runs", json=run | {"webhook": url})
        again = door.client.post("/v1/runs", json=run | {"webhook": {"url": url}})
        assert (first.status_code, first.json()["id"]) == (202, again.json()["id"])
