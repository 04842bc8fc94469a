"""Shell completion."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from acestep_flows.cli.main import cli


def completions(args: list[str], incomplete: str) -> list[str]:
    completed = ShellComplete(cli, {}, "acestep-flows", "_ACESTEP_FLOWS_COMPLETE")
    return [item.value for item in completed.get_completions(args, incomplete)]


@pytest.mark.parametrize("command", [["run"], ["graph", "show"], ["graph", "plan"], ["graph", "check"], ["submit"]])
def test_names_of_graphs(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert completions(command, "text2m") == ["text2music"]


def test_graphs_of_other_folders(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("graph: mine\nversion: 1\ninputs: {zither: {type: bool}}\n")
    assert completions(["run", "--graphs", str(tmp_path)], "min") == ["mine"]
    assert completions(["run", "--graphs", str(tmp_path), "mine", "--set"], "z") == ["zither="]
    assert completions(["run", "--graphs", str(tmp_path / "nowhere")], "min") == []


def test_inputs_of_the_graph_that_are_not_given_yet() -> None:
    offered = completions(["run", "text2music", "--set", "tags=pop", "--set"], "")
    assert {"lyrics=", "duration=", "seed="} <= set(offered)
    assert "tags=" not in offered
    assert completions(["submit", "text2music", "--set"], "ta") == ["tags="]


def test_choices_of_an_input() -> None:
    assert completions(["run", "text2music", "--set"], "solver=h") == ["solver=heun"]
    assert completions(["run", "text2music", "--set"], "seed=") == ["seed=random"]


@pytest.mark.parametrize("args", [["run", "no-such-graph", "--set"], ["run", "--set"], ["run", "text2music", "--set"]])
def test_nothing_to_offer_is_no_error(args: list[str]) -> None:
    assert completions(args, "nothing-like-this=") == []


def test_names_of_stages() -> None:
    assert completions(["stages"], "voc") == ["vocode"]
