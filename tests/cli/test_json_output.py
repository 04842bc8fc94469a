"""--json: what commands tell, for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from acestep_flows.cli.main import cli

Ask = Callable[..., Any]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """The JSON that a command prints; the exit code is checked."""
    monkeypatch.setenv("ACESTEP_FLOWS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ACESTEP_FLOWS_CHECKPOINT", raising=False)
    monkeypatch.chdir(tmp_path)

    def asked(*args: str, code: int = 0) -> Any:
        result = CliRunner().invoke(cli, [*args, "--json"])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    return asked


def test_graphs_and_stages(ask: Ask) -> None:
    graphs = {graph["name"]: graph for graph in ask("graphs")}
    assert graphs["text2music"]["readable"]
    assert graphs["text2music"]["inputs"][0] == "tags"
    assert "vocode" in [stage["name"] for stage in ask("stages")]
    mix = ask("stages", "mix")
    assert mix["takes"][0] | {"description": ""} == {
        "name": "stems", "type": "list of audio", "required": True, "description": "", "schema": {},
    }  # fmt: skip


def test_problems_of_graphs(ask: Ask, tmp_path: Path) -> None:
    assert ask("graph", "check", "text2music") == {"graphs": ["text2music"], "problems": []}
    (tmp_path / "broken.yaml").write_text("graph: broken\nversion: 1\nnodes: {a: {stage: vocod, with: {}}}\n")
    problems = ask("graph", "check", "broken.yaml", code=2)["problems"]
    assert ("broken.yaml", 3, "a") in [(one["file"], one["line"], one["node"]) for one in problems]
    assert all(one["rule"] and one["message"] for one in problems)


def test_a_dry_run_before_a_first_run(ask: Ask) -> None:
    told = ask("graph", "plan", "text2music", "--set", "tags=pop", "--set", "duration=1:00")
    assert told["graph"] == "text2music"
    assert {node["fate"] for node in told["nodes"]} == {"computed"}
    assert told["seconds"] is None
    assert told["peak_bytes"] is None


def test_a_dry_run_in_words_before_a_first_run(ask: Ask) -> None:
    shown = CliRunner().invoke(cli, ["graph", "plan", "text2music", "--set", "tags=pop"]).stdout
    assert "6 nodes, 6 to compute: not known before a first run\n" in shown
    assert "peak memory: not known before a first run" in shown
    assert "0.0 s" not in shown


def test_what_the_doctor_finds(ask: Ask) -> None:
    findings = ask("doctor", "--checkpoint", "embedded")
    assert {"check", "verdict", "message", "advice"} == set(findings[0])
    assert findings[0]["check"] == "python"


def test_json_of_a_job_needs_a_dry_run() -> None:
    result = CliRunner().invoke(cli, ["bulk", "--graph", "text2music", "--out", "job", "--json"])
    assert result.stderr == "error: --json: only a dry run is told as JSON (allowed: with --dry-run)\n"
