"""Wrong inputs on the command line: all of them at once, as they were typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from acestep_flows.audio import write
from acestep_flows.cli.main import cli
from acestep_flows.values import Audio

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.setenv("ACESTEP_FLOWS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(cli, [str(arg) for arg in args])


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("duration=330", "duration: 330 (allowed: 0.1 to 240 s)"),
        ("duration=1e3", "duration: 1e3 (allowed: 0.1 to 240 s)"),
        ("duration=6 min", "duration: 6 min is 360 s (allowed: 0.1 to 240 s)"),
        ("steps=+900", "steps: +900 (allowed: 1 to 200)"),
        ("seed=99999999999", "seed: 99999999999 (allowed: 0 to 4294967295, or 'random')"),
        ("omega=\u22121000", "omega: \u22121000 is -1000 (allowed: -100 to 100)"),
    ],
)
def test_a_number_out_of_range_is_told_as_it_was_typed(invoke: Invoke, setting: str, told: str) -> None:
    result = invoke("graph", "plan", "text2music", "--set", "tags=pop", "--set", setting)
    assert (result.exit_code, result.stderr) == (2, f"error: {told}\n")


@pytest.mark.parametrize(
    ("span", "told"),
    [("0:20-0:10", "0:20-0:10 is 20 to 10 s"), ("1:00-1:10", "1:00-1:10 is 60 to 70 s, but source is 1.0")],
)
def test_a_span_is_told_as_it_was_typed(invoke: Invoke, tmp_path: Path, span: str, told: str) -> None:
    write.audio(tmp_path / "song.wav", Audio(np.zeros((2, 44_100), np.float32), 44_100))
    sets = ["source=song.wav", "tags=pop", f"span={span}"]
    result = invoke("graph", "plan", "repaint", *(part for one in sets for part in ("--set", one)))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: span: {told}")


def test_all_wrong_inputs_of_a_command_are_told_at_once(invoke: Invoke) -> None:
    sets = ["durration=5", "leng=4", "steps=900", "guidance=foo", "seed=7.5", "omega=1,500", "steps=3"]
    result = invoke("run", "text2music", *(part for one in sets for part in ("--set", one)))
    assert result.exit_code == 2
    assert [line.removeprefix("error: ").partition(":")[0] for line in lines(result.stderr)] == [
        "durration", "leng", "omega", "steps", "steps", "guidance", "seed", "tags",
    ]  # fmt: skip
    assert result.stderr.count("allowed: tags, lyrics") == 1  # the inputs there are, once


def test_very_many_wrong_inputs_are_counted(invoke: Invoke) -> None:
    sets = [part for i in range(100) for part in ("--set", f"nothing{i}=1")]
    result = invoke("run", "text2music", "--set", "tags=x", *sets)
    assert len(lines(result.stderr)) == 25
    assert lines(result.stderr)[-1] == "error: and 76 more"


def test_a_misspelt_input_is_not_called_missing_too(invoke: Invoke) -> None:
    result = invoke("run", "text2music", "--set", "tag=pop")
    assert lines(result.stderr) == [result.stderr.strip()]
    assert "tag: no such input; did you mean tags?" in result.stderr


def test_a_colon_in_place_of_the_sign_is_one_error(invoke: Invoke) -> None:
    result = invoke("run", "text2music", "--set", "tags:folk")
    assert lines(result.stderr) == [
        "error: --set: 'tags:folk' has no value; write tags=folk (allowed: name=value or name=@file)"
    ]


@pytest.mark.parametrize(("graph", "old"), [("edit-lyrics", "lyrics"), ("remix", "tags")])
def test_the_old_words_are_told_from_the_new_ones(invoke: Invoke, graph: str, old: str) -> None:
    told = f"; {old} are the song's old ones, the new ones go in new_{old}"
    with_old = lines(invoke("graph", "plan", graph, "--set", f"{old}=the first one").stderr)
    (line,) = [line for line in with_old if line.startswith(f"error: new_{old}: missing")]
    assert line.endswith(told)
    assert told not in invoke("graph", "plan", graph).stderr
