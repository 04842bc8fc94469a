"""Common mistakes on the command line: each ends in plain lines, and none of them calls itself a bug.

All commands run in one process, except a few that show that the boundary holds in a real one.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from acestep_flows.cli.main import cli
from acestep_flows.cli.terminal import BUG

PARTS = ("ace_step_transformer", "music_dcae_f8c8", "music_vocoder", "umt5-base")
ENDINGS = ("bin", "yaml", "wav", "json", "jsonl", "parquet", "csv", "safetensors")

MISTAKES = """
run text2music --set tags=@dir
run text2music --set tags=@junk.bin --set duration=1 --set steps=1
run text2music --set tags=@nothing
run text2music --set tags=x --out empty
run text2music --set tags=x --set duration=1 --set steps=1 --name a/b
run junk.yaml
run list.yaml
run dir
run loop.yaml
run text2music --set tags=x --graphs empty
run text2music --set tags=x --checkpoint checkpoint
run text2music --set tags=x --checkpoint empty
run text2music --set tags=x --checkpoint loop.yaml
run text2music --set tags=x --device cuda:9
run text2music --set tags=x --checkpoint checkpoint --lyric-vocab junk.json
run repaint --set source=@junk.wav --set tags=x --set span=0:1
run repaint --set source=@dir --set tags=x --set span=0:1
replay junk.wav
replay junk.json
replay list.json
replay junk.bin
graph check junk.yaml
graph check dir
graph show text2music --png dir
graph show text2music --png empty/x.png
graph plan text2music --set tags=x --set duration=inf
fetch --to empty
fetch --endpoint nonsense --to fetched
fetch --lyric-vocab junk.json --to fetched
adapter inspect junk.bin
adapter inspect dir
adapter inspect junk.safetensors
adapter merge dir --checkpoint checkpoint --out merged
adapter convert junk.safetensors --out converted
train lora junk.yaml --out run
train lora list.yaml --out run
train lora dir --out run
train autoencoder nano-autoencoder --out run --set loop.steps=x
encode ace-step-encode --out empty --set source.path=dir
encode ace-step-encode --out encoded --set source.path=dir --set checkpoint=checkpoint
encode ace-step-encode --out encoded --set source.kind=parquet --set source.path=junk.parquet
key bob --file dir
key bob --file junk.json
key bob --file empty/k.json
serve --home empty --port 0
serve --home home --pool junk.yaml --port 0
serve --home home --host nowhere.invalid --port 0
serve --home home --database nonsense --port 0
serve --home home --artifacts nonsense://x --port 0
bulk junk.jsonl --graph text2music --out bulk
bulk junk.csv --graph text2music --out bulk
bulk junk.parquet --graph text2music --out bulk
bulk dir --graph text2music --out bulk
bulk --graph text2music --set tags=x --sweep seed=@junk.bin --out bulk
bulk --graph text2music --set tags=x --out empty
bulk --graph text2music --set tags=x --out bulk --pool junk.yaml
bulk --graph text2music --set tags=x --out bulk --require nonsense
bulk --graph text2music --set tags=x --out bulk --via nonsense
bulk --graph text2music --set tags=x --out nonsense://x
submit junk.yaml --server http://127.0.0.1:1
submit list.yaml --server http://127.0.0.1:1
submit text2music --set tags=x --server nonsense
status x --server ftp://x
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with things that are not what their names say."""
    junk = Random(0).randbytes(3000)
    for ending in ENDINGS:
        (tmp_path / f"junk.{ending}").write_bytes(junk)
    for part in PARTS:
        (tmp_path / "checkpoint" / part).mkdir(parents=True)
        (tmp_path / "checkpoint" / part / "config.json").write_text("{}")
        (tmp_path / "checkpoint" / part / "diffusion_pytorch_model.safetensors").write_bytes(junk)
    (tmp_path / "dir").mkdir()
    (tmp_path / "empty").write_text("")
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "list.yaml").write_text("- 1")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACESTEP_FLOWS_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize("command", MISTAKES.strip().splitlines())
def test_a_mistake_is_told_in_plain_lines(folder: Path, command: str) -> None:
    result = CliRunner().invoke(cli, shlex.split(command))
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code not in (0, BUG), result.output
    assert "rror: " in result.stderr
    assert "a bug" not in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        "run text2music --set tags=@dir",
        "train lora junk.yaml --out run",
        "serve --home home --pool junk.yaml --port 0",
        "bulk junk.csv --graph text2music --out bulk",
    ],
)
def test_a_mistake_in_a_real_process_is_told_in_plain_lines(folder: Path, command: str) -> None:
    arguments = [sys.executable, "-m", "acestep_flows.cli", *shlex.split(command)]
    done = subprocess.run(arguments, env=dict(os.environ), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode not in (0, BUG)
    assert "error: " in done.stderr
    assert all(line.startswith(("error: ", "weights: ", "starting")) for line in done.stderr.splitlines())
