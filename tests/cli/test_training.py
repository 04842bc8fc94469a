"""The `train` command: what it says, where it stops, and how it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from acestep_flows.cli.main import cli
from acestep_flows.training.kinds import autoencoder
from acestep_flows.training.loop.recipe import TrainingRecipe
from tests.training.toy_training import ToyTask


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe of a kind that trains a toy."""
    monkeypatch.setattr(autoencoder, "RECIPE", TrainingRecipe)
    monkeypatch.setattr(autoencoder, "build", lambda recipe, device: ToyTask(bad=(recipe.seed,)))
    loop: dict[str, Any] = {"steps": 20, "save_every": 5, "precision": "float32"}
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump({"kind": "autoencoder", "seed": 999, "loop": loop}))
    return tmp_path / "toy.yaml"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["train", *map(str, arguments), "--device", "cpu"])


def test_it_trains(toy: Path, tmp_path: Path) -> None:
    done = run("autoencoder", toy, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "run" / "export")
    lines = done.stderr.splitlines()
    assert "step 20 of 20: loss" in done.stderr
    assert lines[-1] == "writing the export", "what is done after the last step is not silent"


def test_it_stops_and_goes_on(toy: Path, tmp_path: Path) -> None:
    first = run("autoencoder", toy, "--out", tmp_path / "run", "--minutes", 0)
    assert first.exit_code == 0
    assert "stopped after step 0; --resume goes on" in first.stderr
    second = run("autoencoder", toy, "--out", tmp_path / "run")
    assert second.exit_code == 2
    assert "--resume to go on" in second.stderr
    third = run("autoencoder", toy, "--out", tmp_path / "run", "--resume", "--quiet")
    assert third.exit_code == 0
    assert third.stderr == ""


def test_a_loss_that_is_no_number(toy: Path, tmp_path: Path) -> None:
    done = run("autoencoder", toy, "--out", tmp_path / "run", "--set", "seed=7")
    assert done.exit_code == 1
    assert "error: step 7: the loss of points 7 (batch 7) is not finite" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("autoencoder", "nowhere.yaml"), "no such recipe"),
        (("decoder", "nano-autoencoder"), "one for decoder"),
        (("autoencoder", "nano-autoencoder", "--set", "loop.speed=1"), "loop.speed"),
        (("singing", "nano-autoencoder"), "singing"),
    ],
)
def test_wrong_arguments(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments, "--out", tmp_path / "run")
    assert done.exit_code == 2
    assert said in done.stderr
    assert not (tmp_path / "run").exists()
