"""The help of every command: its example is true, and its summary fits into the list."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from acestep_flows.cli.helping import EXAMPLES, SUMMARIES
from acestep_flows.cli.main import cli


def commands(group: click.Group = cli, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{prefix}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")


ALL = dict(commands())


def test_every_command_has_an_example() -> None:
    alone = {path for path, command in ALL.items() if not isinstance(command, click.Group)}
    with_example = {path for path in alone if path in EXAMPLES or path.split()[0] in EXAMPLES}
    assert with_example == alone
    assert EXAMPLES.keys() | SUMMARIES.keys() <= ALL.keys()


@pytest.mark.parametrize(("path", "example"), EXAMPLES.items())
def test_an_example_is_a_command_with_options_that_exist(path: str, example: str) -> None:
    words = shlex.split(example)
    assert words[: len(path.split())] == path.split()
    command: click.Command = cli
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    options = {option for param in command.params for option in param.opts}
    assert {word for word in words if word.startswith("--")} <= options
    shown = CliRunner().invoke(cli, [*path.split(), "--help"]).output
    assert f"  Example:\n    acestep-flows {example}\n" in shown


@pytest.mark.parametrize("group", [[], ["graph"], ["adapter"], ["queue"]])
def test_no_summary_in_a_list_is_cut_off(group: list[str]) -> None:
    listed = CliRunner().invoke(cli, [*group, "--help"]).output.partition("Commands:")[2]
    assert listed
    assert "..." not in listed


def test_help_is_a_command_too() -> None:
    runner = CliRunner()
    assert runner.invoke(cli, ["help"]).output == runner.invoke(cli, ["--help"]).output
    for command in (["run"], ["graph", "show"]):
        shown = runner.invoke(cli, ["help", *command])
        assert (shown.exit_code, shown.output) == (0, runner.invoke(cli, [*command, "--help"]).output)
