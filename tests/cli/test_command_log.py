"""What long commands write to stderr with --log-format json: an object on every line, however they end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.model.small import small_folder
from tests.training.data.test_song_sources import write_song

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
SECRET = "hunter2-of-the-database"

COMMAND = f"""
import logging, sys
import click
from acestep_flows.cli.command_log import CommandLog, log_format_option
from acestep_flows.cli.main import cli
from acestep_flows.errors import GraphError, Problem, StorageError

@cli.command()
@click.argument("end")
@log_format_option
def work(end, log_format):
    log = CommandLog("work", log_format)
    with log.formatted():
        log.tell("2 of 3 done", done=2, rows=3)
        log.tell("note: nothing new")
        log.warn("  one was left out")
        logging.getLogger("acestep_flows.bulk.driver").warning("password=%s is wrong", "{SECRET}")
        if end == "storage":
            raise StorageError("postgresql://me:{SECRET}@db/runs cannot be written")
        if end == "graph":
            raise GraphError([Problem("r", "first", "a.yaml", 1, 1), Problem("r", "second", "a.yaml", 2, 1)])
        if end == "usage":
            raise click.UsageError("leave --this out")
        if end == "file":
            open("/nowhere/at/all")
        if end == "bug":
            raise ZeroDivisionError("a\\nbug")
        if end == "memory":
            raise MemoryError
        if end == "package":
            raise ModuleNotFoundError("x", name="pyarrow")
        if end == "interrupt":
            raise KeyboardInterrupt

from acestep_flows.cli.main import main
main()
"""


def work(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True, check=False)


def objects(text: str) -> list[dict[str, Any]]:
    """The lines, each of which must be an object with what all have."""
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        assert TIME.fullmatch(line["time"])
        datetime.fromisoformat(line["time"])
        assert line["level"] in ("info", "warning", "error")
        assert line["logger"].startswith("acestep_flows.")
    return lines


@pytest.mark.parametrize(
    ("end", "code", "messages"),
    [
        ("done", 0, []),
        ("storage", 4, ["postgresql://db/runs cannot be written"]),
        ("graph", 2, ["a.yaml:1:1: first", "a.yaml:2:1: second"]),
        ("usage", 2, ["leave --this out"]),
        ("file", 1, ["/nowhere/at/all: No such file or directory"]),
        ("bug", 70, ["ZeroDivisionError: a bug (a bug; acestep-flows --traceback shows where)"]),
        ("memory", 1, ["out of memory"]),
        ("package", 1, None),
        ("interrupt", 130, ["interrupted"]),
    ],
)
def test_every_line_is_an_object_however_the_command_ends(end: str, code: int, messages: list[str] | None) -> None:
    done = work("work", end, "--log-format", "json")
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    told, note, left_out, record, *errors = objects(done.stderr)
    assert (told["level"], told["message"], told["done"], told["rows"]) == ("info", "2 of 3 done", 2, 3)
    assert (told["logger"], record["logger"]) == ("acestep_flows.work", "acestep_flows.bulk.driver")
    assert (note["level"], note["message"]) == ("info", "nothing new")
    assert (left_out["level"], left_out["message"]) == ("warning", "one was left out")
    assert (record["level"], record["message"]) == ("warning", "password=*** is wrong")
    assert {line["level"] for line in errors} <= {"warning" if end == "interrupt" else "error"}
    if messages is not None:
        assert [line["message"] for line in errors] == messages
    assert SECRET not in done.stderr


def test_text_is_as_without_the_option() -> None:
    for end in ("done", "storage", "graph", "usage", "file", "bug", "memory", "package", "interrupt"):
        plain, text = work("work", end), work("work", end, "--log-format", "text")
        assert (plain.returncode, plain.stderr) == (text.returncode, text.stderr)
        assert plain.stderr.startswith("2 of 3 done\nnote: nothing new\n  one was left out\nwarning: ")


def test_a_traceback_that_was_asked_for_is_shown() -> None:
    done = work("--traceback", "work", "bug", "--log-format", "json")
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr


def command(
    folder: Path, *arguments: str, program: Sequence[str] = ("-m", "acestep_flows.cli")
) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "ACESTEP_FLOWS_CACHE": str(folder / "cache")}
    whole = [sys.executable, *program, *arguments, "--log-format", "json"]
    return subprocess.run(whole, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_job_that_is_refused(tmp_path: Path) -> None:
    (tmp_path / "songs.jsonl").write_text('{"id": "a", "tags": "pop"}\n{"id": "b", "tags": 1}\n')
    job = ("bulk", "songs.jsonl", "--graph", "text2music", "--out", "job")
    done = command(tmp_path, *job)
    bad, error = objects(done.stderr)
    assert done.returncode == 2
    assert (bad["level"], bad["message"]) == ("warning", "line 2: tags: 1 (allowed: text)")
    assert (error["level"], error["logger"]) == ("error", "acestep_flows.bulk")
    assert "1 of 2 rows cannot be rendered" in error["message"]
    assert not (tmp_path / "job").exists()


def test_songs_are_encoded(tmp_path: Path) -> None:
    write_song(tmp_path / "songs", "a")
    write_song(tmp_path / "songs", "b", tags=None)
    source = {"kind": "folder", "path": str(tmp_path / "songs")}
    recipe = {"kind": "encode", "checkpoint": str(small_folder()), "source": source, "dtype": "float32"}
    (tmp_path / "encode.yaml").write_text(yaml.safe_dump(recipe))
    done = command(tmp_path, "encode", "encode.yaml", "--out", "encoded", "--device", "cpu")
    assert (done.returncode, done.stdout) == (0, "encoded\n"), done.stderr
    progress, left_out = objects(done.stderr)
    assert (progress["level"], progress["songs"], progress["encoded"], progress["left_out"]) == ("info", 2, 1, 1)
    assert (left_out["level"], left_out["logger"]) == ("warning", "acestep_flows.encode")
    assert left_out["message"].startswith("left out b: ")


TRAINING = """
from acestep_flows.training.kinds import autoencoder
from acestep_flows.training.loop.recipe import TrainingRecipe
from tests.training.toy_training import ToyTask

autoencoder.RECIPE = TrainingRecipe
autoencoder.build = lambda recipe, device: ToyTask(bad=(recipe.seed,))
from acestep_flows.cli.main import main
main()
"""


@pytest.mark.parametrize("seed", [999, 3])
def test_a_training_run(seed: int, tmp_path: Path) -> None:
    """Over points; the seed is the number of a batch whose loss is not finite."""
    loop = {"steps": 6, "precision": "float32"}
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump({"kind": "autoencoder", "seed": seed, "loop": loop}))
    train = ["train", "autoencoder", "toy.yaml", "--out", "run", "--device", "cpu"]
    done = command(tmp_path, *train, program=["-c", TRAINING])
    *lines, last = objects(done.stderr)
    steps = [line for line in lines if "step" in line]
    assert steps[0]["steps"] == 6
    if seed == 3:
        assert done.returncode == 1
        assert (last["level"], last["message"][:7]) == ("error", "step 3:")
    else:
        assert (done.returncode, done.stdout) == (0, "run/export\n"), done.stderr
        assert steps[-1]["step"] == 6
        assert steps[-1]["losses"]
        assert last["message"] == "writing the export"
