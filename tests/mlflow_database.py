"""A database of MLflow with its tables: making them takes seconds, as MLflow goes through all its migrations."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path


@cache
def _content() -> bytes:
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mlflow.db")
        MlflowClient(f"sqlite:///{path}").search_experiments()
        return path.read_bytes()


def with_tables(path: Path) -> Path:
    """Write the database that MLflow would make in `path`."""
    path.write_bytes(_content())
    return path
