"""Whatever fails, no secret is told to anybody, and no name of a store to callers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy.exc import OperationalError

from acestep_flows.api.http.errors import error_body
from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.object_store import translate_errors
from acestep_flows.api.store.rows import error_json
from acestep_flows.cli.main import cli
from acestep_flows.errors import FlowsError, InputError, StageError, StorageError, Unavailable

SECRET = "marked-secret-0123"
INNER = ("db.inner", "5432", "runs-user", "inner-bucket", "ACCESSKEY", "127.0.0.1")
"""Names of stores and machines."""

LOST = (
    f'connection to server at "db.inner" (10.0.0.3), port 5432 failed: FATAL: password authentication failed for user '
    f'"runs-user" (password={SECRET})'
)
AWS = f"When reading information for key 'x' in bucket 'inner-bucket': AWS Error, s3://ACCESSKEY:{SECRET}@inner-bucket"


def database(url: str) -> Callable[[Path], object]:
    return lambda folder: Database(url)


def place(url: str) -> Callable[[Path], object]:
    return lambda folder: Artifacts(Database.file(folder / "runs.sqlite"), url)


def lost(folder: Path) -> None:
    opened = Database.file(folder / "runs.sqlite")

    def refuse() -> None:
        raise OperationalError("SELECT 1", {}, ConnectionRefusedError(LOST))

    opened._engine.connect = refuse  # type: ignore[assignment]
    with opened.read():
        pass


def away(folder: Path) -> None:
    with translate_errors("an artifact", "read", Unavailable):
        raise OSError(AWS)


FAILURES: dict[str, Callable[[Path], object]] = {
    "database: no URL": database(f"runs-user:{SECRET}@db.inner"),
    "database: another kind": database(f"mysql://runs-user:{SECRET}@db.inner/runs"),
    "database: refuses": database(f"postgresql://runs-user:{SECRET}@127.0.0.1:1/runs"),
    "database: password as a parameter": database(f"postgresql://127.0.0.1:1/runs?user=runs-user&password={SECRET}"),
    "database: lost": lost,
    "artifacts: unknown scheme": place(f"what://ACCESSKEY:{SECRET}@inner-bucket/x"),
    "artifacts: slash in the key": place(f"s3://ACCESSKEY:{SECRET}/more@inner-bucket/x y?region=a b"),
    "artifacts: unknown option": place(f"s3://ACCESSKEY:{SECRET}@inner-bucket/x?nothing=1&secret_key={SECRET}"),
    "artifacts: away": away,
}


def failure_of(fail: Callable[[Path], object], folder: Path) -> FlowsError:
    with pytest.raises(FlowsError) as caught:
        fail(folder)
    return caught.value


@pytest.mark.parametrize("name", FAILURES)
def test_no_failure_tells_a_secret(name: str, tmp_path: Path) -> None:
    error = failure_of(FAILURES[name], tmp_path)
    assert SECRET not in str(error)
    assert SECRET not in str(error_body(error))
    if isinstance(error, StorageError):
        told: list[Any] = [error_body(error), error_json(error), error_json(StageError("song", "vocode", error))]
        assert [inner for inner in INNER if inner in str(told)] == []


@pytest.mark.parametrize("url", [f"postgresql://runs-user:{SECRET}@127.0.0.1:1/runs", f"mysql://u:{SECRET}@h/runs"])
def test_no_command_prints_a_secret(url: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["usage", "--home", str(tmp_path), "--database", url])
    assert result.exit_code != 0
    assert SECRET not in result.output


def test_an_error_that_names_no_store_is_told_whole() -> None:
    assert error_json(InputError("7", where="seed"))["message"] == "seed: 7"
    assert error_json(StorageError("no space"))["message"] == "no space"
    assert error_json(StageError("song", "vocode", ValueError("x")))["message"] == "node song (vocode): ValueError: x"
