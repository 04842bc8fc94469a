"""The command `studio`, with a server in its place that says what it was asked for."""

from __future__ import annotations

import subprocess
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from acestep_flows.cli import studio
from acestep_flows.cli.main import cli

pytest.importorskip("fastapi")
pytest.importorskip("ray")

ADDRESS = "http://127.0.0.1:7865/studio/"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the server was asked for."""
    seen: dict[str, Any] = {}

    def serve(options: Any, settings: Any, on_ready: Any, *, show: Callable[[str], None], **others: Any) -> None:
        seen["options"] = options
        show(ADDRESS)

    monkeypatch.setattr("acestep_flows.api.server.server.serve_forever", serve)
    monkeypatch.setattr(studio, "open_page", lambda address: seen.update(opened=address))
    monkeypatch.setenv("HOME", str(tmp_path))
    return seen


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli, ["studio", *args])


def test_without_options_it_serves_from_the_home_folder_and_opens_the_page(
    asked: dict[str, Any], tmp_path: Path
) -> None:
    assert invoke().exit_code == 0
    options = asked["options"]
    assert (options.port, options.host, options.home) == (7865, "127.0.0.1", tmp_path / "acestep-flows")
    assert (options.checkpoint, options.device, options.dtype, options.studio) == (None, None, None, True)
    assert asked["opened"] == ADDRESS


def test_no_browser_is_opened_if_none_is_wanted(asked: dict[str, Any]) -> None:
    assert invoke("--no-browser").exit_code == 0
    assert "opened" not in asked


@pytest.mark.parametrize(
    ("line", "dtype"),
    [
        ("--checkpoint_path weights --port 7000 --device_id 1 --bf16", "bfloat16"),
        ("--checkpoint_path weights --device_id 1 --bf16 true --share false --port 7000", "bfloat16"),
        ("--checkpoint weights --device 1 --bf16 false --port 7000", "float32"),
        ("--checkpoint weights --device 1 --no-bf16 --port 7000", "float32"),
    ],
)
def test_options_of_v1_are_taken_as_its_users_type_them(asked: dict[str, Any], line: str, dtype: str) -> None:
    result = invoke(*line.split())
    assert result.exit_code == 0, result.output
    options = asked["options"]
    assert (options.checkpoint, options.device, options.dtype, options.port) == ("weights", 1, dtype, 7000)


@pytest.mark.parametrize("line", ["--share", "--share true --port 7000", "--bf16 --share --port 7000"])
def test_a_tunnel_is_refused_with_what_to_do(asked: dict[str, Any], line: str) -> None:
    result = invoke(*line.split())
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    for word in ("keys", "--host", "proxy"):
        assert word in result.stderr
    assert asked == {}


def test_both_precisions_at_once_are_refused(asked: dict[str, Any]) -> None:
    assert invoke("--bf16", "--no-bf16").exit_code == 2
    assert asked == {}


def test_a_browser_of_the_terminal_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    browser = webbrowser.GenericBrowser("lynx")
    monkeypatch.setattr(browser, "open", opened.append)
    monkeypatch.setattr(webbrowser, "get", lambda: browser)
    studio.open_page(ADDRESS)
    assert opened == []


def test_app_py_is_the_same_command() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "app.py", "--checkpoint_path", "checkpoints", "--share", "--bf16"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --share: ")
