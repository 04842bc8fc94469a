"""The commands of docs/songs.md run in their order on acestep-nano, with a shorter song and fewer steps."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner

from acestep_flows.cli.main import cli
from acestep_flows.graph.library import shipped
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.embedded import embedded_checkpoint
from acestep_flows.model.tag_words import TagWords
from acestep_flows.session.planned_run import plan_run, read_graph
from acestep_flows.text.languages import SUPPORTED
from acestep_flows.text.lyric_lines import read_lines
from acestep_flows.text.structure_tags import STRUCTURE
from acestep_flows.training.nano.words import ALIASES
from acestep_flows.training.synthesis.instruments import INSTRUMENTS
from acestep_flows.training.synthesis.styles import STYLES
from acestep_flows.training.synthesis.words import PACES

PAGE = (Path(__file__).parents[2] / "docs" / "songs.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")
BLOCKS_OF_GRAPHS = {"as-audio", "as-latents", "continue-step", "decode", "edit-step"}
"""Building blocks, which nobody runs by themselves to make a song."""


def commands() -> list[str]:
    """Every command of the page; one that goes on over several lines is one command."""
    joined = "".join(BLOCK.findall(PAGE)).replace("\\\n", " ")
    return joined.splitlines()


def shortened(command: str) -> str:
    """A command with a first song that is shorter, and fewer steps for all."""
    return command.replace("duration=6", "duration=4").replace("steps=10", "steps=4")


def chapter(title: str) -> str:
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def row(kind: str) -> list[str]:
    """The words of a row of the table of tags."""
    (line,) = (line for line in PAGE.splitlines() if line.startswith(f"| {kind} |"))
    return CODE.findall(line)


@pytest.mark.slow
def test_every_command_runs_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACESTEP_FLOWS_CHECKPOINT", "ACESTEP_FLOWS_LYRIC_VOCAB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ACESTEP_FLOWS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for command in commands():
        program, *arguments = shlex.split(shortened(command))
        if program != "acestep-flows":
            subprocess.run(["bash", "-ec", command], check=True)
            continue
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0, f"{command}\n{done.output}"
        assert "silent" not in done.stderr, f"{command}\n{done.stderr}"
    names = {path.stem for path in Path("songs").glob("*.wav")}
    assert {"song", "takes-03", "best", "stems-stems-02", "band-accompaniment", "third"} <= names
    assert soundfile.info("songs/third.wav").duration == pytest.approx(3.99 + 1.95, abs=0.1)
    assert soundfile.read("songs/same.wav")[0].tolist() == soundfile.read("songs/long.wav")[0].tolist()


def test_the_commands_name_tags_that_the_small_model_knows() -> None:
    known = TagWords.of(Checkpoint.open(embedded_checkpoint()))
    assert known is not None
    parts = [part for command in commands() for part in shlex.split(command)]
    tags = [part.split("=", 1)[1] for part in parts if re.match("(new_)?tags=", part)]
    assert len(tags) > 5
    assert {one: known.unknown(one) for one in tags if known.unknown(one)} == {}


def test_every_graph_has_a_command() -> None:
    made = {shlex.split(command)[2] for command in commands() if command.startswith("acestep-flows run")}
    assert made == {path.stem for path in shipped().glob("*.yaml")} - BLOCKS_OF_GRAPHS
    assert {f"### {name}\n" in PAGE for name in made - {"text2music"}} == {True}


def test_the_words_are_those_that_the_small_model_learned() -> None:
    assert row("styles") == list(dict.fromkeys(row("styles")))
    assert set(row("styles")) == set(STYLES)
    assert set(row("instruments")) == set(INSTRUMENTS)
    assert set(row("moods")) == {mood for style in STYLES.values() for mood in style.moods}
    assert {word for _, word in PACES} <= set(row("paces"))
    for alias, word in re.findall(r"`(\w+)` as ([a-z]+)", chapter("Tags")):
        assert ALIASES[alias] == word, alias
    for pair in re.findall(r"`(\w+)` and `(\w+)` as ([a-z]+)", chapter("Tags")):
        assert [ALIASES[alias] for alias in pair[:2]] == [pair[2]] * 2


def test_structure_tags_are_read_as_the_page_says() -> None:
    text = chapter("Lyrics")
    assert set(STRUCTURE) <= set(CODE.findall(text))
    rows = re.findall(r"^\| (`.*) \| `(\[[a-z-]+\])` \|$", text, re.MULTILINE)
    assert len(rows) == 7
    for written, tag in rows:
        for form in CODE.findall(written):
            assert [(line.text, line.is_tag) for line in read_lines(form).lines] == [(tag, True)], form
    for words in ("[Scream]", "Solo:"):
        assert [line.is_tag for line in read_lines(words).lines] == [False]
    codes = re.findall(r"\(`([a-z]{2})`\)", text)
    assert sorted(codes) == sorted(SUPPORTED)


def test_the_readme_and_the_examples_name_tags_that_the_small_model_knows() -> None:
    known = TagWords.of(Checkpoint.open(embedded_checkpoint()))
    assert known is not None
    root = Path(__file__).parents[2]
    readme = (root / "README.md").read_text(encoding="utf-8")
    tags = re.findall(r'tags="([^"]+)"', readme) + [
        file.read_text(encoding="utf-8") for file in (root / "examples").glob("*.tags.txt")
    ]
    assert len(tags) > 5
    assert {one: known.unknown(one) for one in tags if known.unknown(one)} == {}


def test_the_demo_has_no_notes() -> None:
    root = Path(__file__).parents[2]
    makefile = (root / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    (command,) = re.findall(r"acestep-flows run (text2music .*)", makefile)
    inputs = dict(part.split("=", 1) for part in shlex.split(command) if "=" in part)
    given = {name: (root / text[1:]).read_text() if text.startswith("@") else text for name, text in inputs.items()}
    values = given | {"duration": float(given["duration"]), "seed": int(given["seed"]), "exact_length": True}
    assert given["exact_length"] == "true"
    assert plan_run(read_graph("text2music"), values).plan.warnings == ()
