"""Tracking never stops a run, and puts down what a run says where it works."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from acestep_flows.errors import TrainingError
from acestep_flows.training.loop.loop import train
from acestep_flows.training.loop.tracking import EXPERIMENT, Untracked, tracking
from tests.training.toy_training import ToyTask, toy_recipe


def test_none_is_needed(tmp_path: Path) -> None:
    with tracking(None, toy_recipe(), tmp_path) as tracker:
        assert isinstance(tracker, Untracked)
        tracker.metrics(1, {"loss": 1.0})
        tracker.files(tmp_path)
        tracker.end(finished=True)


def test_one_that_fails_is_left_behind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        done = train(ToyTask(), toy_recipe(mlflow="nonsense://nowhere"), tmp_path)
    assert done.finished
    assert any("tracking" in record.getMessage() for record in caplog.records)


@pytest.mark.filterwarnings("ignore")
def test_curves_and_previews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    recipe = toy_recipe(mlflow=uri, preview_every=10)
    train(ToyTask(), recipe, tmp_path / "run", minutes=0.0)
    train(ToyTask(), recipe, tmp_path / "run", resume=True)
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "loss")]
    assert steps == [3, 6, 9, 12, 15, 18]
    assert "slope" in run.data.metrics
    files = [file.path for file in client.list_artifacts(run.info.run_id, "previews/step-00000020")]
    assert files == ["previews/step-00000020/shown.txt"]
    assert "recipe.json" in [file.path for file in client.list_artifacts(run.info.run_id)]


@pytest.mark.filterwarnings("ignore")
def test_how_it_ended(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    with pytest.raises(TrainingError):
        train(ToyTask(bad=(3,)), toy_recipe(mlflow=uri), tmp_path / "bad")
    train(ToyTask(), toy_recipe(mlflow=uri), tmp_path / "stopped", minutes=0.0)
    client = mlflow.MlflowClient(tracking_uri=uri)
    (experiment,) = [one for one in client.search_experiments() if one.name == EXPERIMENT]
    found = {run.info.run_name: run.info.status for run in client.search_runs([experiment.experiment_id])}
    assert found == {"toy bad": "FAILED", "toy stopped": "KILLED"}
