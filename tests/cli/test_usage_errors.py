"""Wrong options and arguments: one line in the style of all errors, and what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from acestep_flows.cli.helping import EXAMPLES
from acestep_flows.cli.main import cli

GIVEN = "; inputs are given as --set"
REPAINT = (
    "no command 'repaint', it is a graph: `acestep-flows run repaint` runs it, "
    "`acestep-flows graph show repaint` shows its inputs"
)

SUCH_AS = "; such as `acestep-flows "


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("run text2music --tags pop", f"no option '--tags'{GIVEN} tags=VALUE"),
        ("run text2music --guidance-scale=3", f"no option '--guidance-scale'{GIVEN} guidance_scale=VALUE"),
        ("run text2music --audio flac", "no option '--audio' here; --format is the kind of audio files"),
        ("run text2music --fromat wav", f"no option '--fromat', nearest '--format'{GIVEN} NAME=VALUE"),
        ("submit text2music --tags pop", f"no option '--tags'{GIVEN} tags=VALUE"),
        ("graph plan text2music --tags pop", f"no option '--tags'{GIVEN} tags=VALUE"),
        ("doctor --tags pop", "no option '--tags'"),
        ("run text2music tags=pop", f"unexpected argument 'tags=pop'{GIVEN} tags=pop"),
        ("run text2music piano", f"unexpected argument 'piano'{GIVEN} NAME=VALUE, in quotes where VALUE has blanks"),
        (
            "run text2music --set tags=\u201clo-fi piano\u201d",
            "unexpected argument 'piano\u201d'; quotes must be straight (\" or ') for the shell to see them",
        ),
        ("run", "no GRAPH; name one, or give --from FILE for that of a recipe"),
        ("run text2music --format wave", "--format: 'wave', nearest 'wav' (allowed: wav, flac, mp3, ogg)"),
        ("run text2music --deadline soon", "--deadline: 'soon' is not a number (allowed: a number)"),
        ("run text2music --deadline 1,5", "--deadline: '1,5' is not a number; write 1.5"),
        ("run text2music --deadline 0", "--deadline: 0 (allowed: more than 0 seconds)"),
        ("run text2music --device", "--device: missing its value"),
        (
            "run text2music --device gpu",
            "--device: no device 'gpu' (allowed: auto, cpu, cuda, cuda:N such as cuda:1, mps)",
        ),
        ("replay nowhere", "FILE: no file 'nowhere'"),
        ("queue show", "--home: missing (allowed: the folder that serve was given, or --database)"),
        ("compare pyproject.toml nowhere", "B: no file 'nowhere'"),
        (
            "adapter merge --checkpoint embedded --out a",
            f"PATH|NAME: missing{SUCH_AS}{EXAMPLES['adapter merge']}`",
        ),
        (
            "train lora",
            f"RECIPE: missing{SUCH_AS}{EXAMPLES['train']}`",
        ),
        ("bulk", f"--graph: missing{SUCH_AS}bulk songs.csv --graph text2music --out songs --dry-run`"),
        ("graph show", f"NAME: missing{SUCH_AS}graph show repaint`"),
        ("run text2music -set tags=pop", "no option '-s'; names of options have two dashes, such as --help"),
        ("replay tests", "FILE: 'tests' is a folder (allowed: a file)"),
        ("serve --home README.md", "--home: 'README.md' is a file (allowed: a folder)"),
        ("compare README.md README.md --png a.jpg", "--png: 'a.jpg' (allowed: a file that ends in .png)"),
        ("train foo x --out a", "KIND: 'foo' (allowed: diffusion, lora, control, autoencoder, decoder)"),
        ("bulk --graph x --out a --retries 101", "--retries: 101 (allowed: a whole number, 0 to 100)"),
        ("graph sho", "no command 'sho', nearest 'show' (allowed: show, check, plan)"),
        ("run text2music --form x", f"no option '--form', nearest '--from' or '--format'{GIVEN} NAME=VALUE"),
        (
            "run text2music --dry-run",
            "no option '--dry-run'; `acestep-flows graph plan` shows what a run would compute",
        ),
        (
            "run text2music --verbose",
            "no option '--verbose'; --help lists the options; inputs are given as --set NAME=VALUE",
        ),
        ("run text2music --length 30", f"no option '--length'{GIVEN} duration=VALUE"),
        ("run text2music --prompt folk", f"no option '--prompt'{GIVEN} tags=VALUE"),
        ("repaint --from song.wav", REPAINT),
        ("graph repaint", REPAINT),
        ("graph repaimt", REPAINT.replace("'repaint', it is a graph", "'repaimt', nearest the graph 'repaint'")),
        ("show text2music", "no command 'show'; there is `acestep-flows graph show`"),
        ("help ruun", "no command 'ruun', nearest 'run'; `acestep-flows help` lists the commands"),
        ("graphs repaint", "unexpected argument 'repaint'; `acestep-flows graph show repaint` shows a graph"),
        (
            "run repaint songs/song.wav --set span=1:2",
            "unexpected argument 'songs/song.wav'; a song to start from is given as --from songs/song.wav",
        ),
    ],
)
def test_a_wrong_option_says_what_is_right(command: str, line: str) -> None:
    result = CliRunner().invoke(cli, command.split())
    assert (result.exit_code, result.stderr) == (2, f"error: {line}\n")
    assert result.stdout == ""


def test_an_unknown_command_names_the_nearest() -> None:
    result = CliRunner().invoke(cli, ["graf"])
    assert result.stderr.startswith("error: no command 'graf', nearest 'graph'; `acestep-flows help` ")


def test_a_group_that_takes_no_graphs_names_its_own_commands() -> None:
    result = CliRunner().invoke(cli, ["queue", "repaint"])
    assert result.stderr.startswith("error: no command 'repaint'")
    assert "is a graph" not in result.stderr


def test_a_bare_command_still_shows_its_help() -> None:
    assert "Usage: " in CliRunner().invoke(cli, []).output


def test_a_song_without_its_ending_is_named(tmp_path: Path) -> None:
    song = tmp_path / "night-bus"
    for ending in (".flac", ".json", ".png"):
        song.with_suffix(ending).touch()

    def told() -> str:
        return CliRunner().invoke(cli, ["run", "--from", str(song)]).stderr.splitlines()[-1]

    assert told() == f"error: --from: no file '{song}'; there is '{song}.flac'"
    song.with_suffix(".flac").unlink()
    assert told() == f"error: --from: no file '{song}'; there is '{song}.json'"
    song.with_suffix(".json").unlink()
    assert told() == f"error: --from: no file '{song}'"
