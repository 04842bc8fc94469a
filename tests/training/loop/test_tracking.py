"""Tracking logs curves, previews and the status of a run, and never stops a run."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from acestep_flows.errors import TrainingError
from acestep_flows.training.loop.loop import train
from acestep_flows.training.loop.tracking import EXPERIMENT, Untracked, tracking
from tests.mlflow_database import with_tables
from tests.training.toy_training import ToyTask, toy_recipe


def test_tracking_is_optional(tmp_path: Path) -> None:
    with tracking(None, toy_recipe(), tmp_path) as tracker:
        assert isinstance(tracker, Untracked)
        tracker.metrics(1, {"loss": 1.0})
        tracker.files(tmp_path)
        tracker.end(finished=True)


def test_a_store_that_fails_does_not_stop_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        outcome = train(ToyTask(), toy_recipe(mlflow="nonsense://nowhere"), tmp_path)
    assert outcome.finished
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
def test_the_status_of_failed_and_stopped_runs(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{with_tables(tmp_path / 'runs.db')}"
    with pytest.raises(TrainingError):
        train(ToyTask(bad=(3,)), toy_recipe(mlflow=uri), tmp_path / "bad")
    train(ToyTask(), toy_recipe(mlflow=uri), tmp_path / "stopped", minutes=0.0)
    client = mlflow.MlflowClient(tracking_uri=uri)
    (experiment,) = [item for item in client.search_experiments() if item.name == EXPERIMENT]
    statuses = {run.info.run_name: run.info.status for run in client.search_runs([experiment.experiment_id])}
    assert statuses == {"toy bad": "FAILED", "toy stopped": "KILLED"}
