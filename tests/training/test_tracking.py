"""Tracking never stops a run, and puts down what a run says where it works."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from acestep_flows.training.loop import train
from acestep_flows.training.tracking import Untracked, tracking
from tests.training.toy_training import ToyTask, toy_recipe


def test_none_is_needed(tmp_path: Path) -> None:
    with tracking(None, toy_recipe(), tmp_path) as tracker:
        assert isinstance(tracker, Untracked)
        tracker.metrics(1, {"loss": 1.0})
        tracker.files(tmp_path)


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
    train(ToyTask(), toy_recipe(mlflow=uri, preview_every=10), tmp_path / "run")
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("acestep-flows training")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "loss")]
    assert steps == [3, 6, 9, 12, 15, 18]
    assert "slope" in run.data.metrics
