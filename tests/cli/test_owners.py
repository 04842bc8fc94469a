"""The commands `adopt` and `usage`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from acestep_flows.cli.main import cli
from tests.api.store.clock import new
from tests.api.toys import opened


def adopt(*args: object) -> Result:
    return CliRunner().invoke(cli, ["adopt", *map(str, args)])


def usage(*args: object) -> Result:
    return CliRunner().invoke(cli, ["usage", *map(str, args)])


def test_runs_of_the_time_without_keys_get_an_owner(tmp_path: Path) -> None:
    with opened(tmp_path / "home") as home:
        run = home.runs.accept(new())[0].id
        home.runs.accept(new(owner="bob"))
        home.assets.add(home.artifacts.put(b"take"), "audio", content_type="t", file_name="f")
        assert adopt("alice", "--home", tmp_path / "home").output == "alice now also owns 1 runs and 1 uploads\n"
        assert [record.id for record in home.runs.list(owner="alice").runs] == [run]
    again = adopt("alice", "--home", tmp_path / "home", "--json")
    assert json.loads(again.output) == {"owner": "alice", "runs": 0, "uploads": 0}


@pytest.mark.parametrize("name", ["", "a b", "../x"])
def test_a_name_that_no_key_has_is_refused(tmp_path: Path, name: str) -> None:
    with opened(tmp_path):
        result = adopt(name, "--home", tmp_path)
    assert result.exit_code == 2
    assert "not a name for a key" in result.stderr


def test_a_folder_without_a_server_is_left_alone(tmp_path: Path) -> None:
    result = adopt("alice", "--home", tmp_path / "home")
    assert result.exit_code == 2
    assert "no server has run" in result.stderr
    assert not (tmp_path / "home").exists()


def test_usage_is_listed_for_every_key(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        assert usage("--home", tmp_path).output == "no runs\n"
        for owner in ("bob", ""):
            home.runs.cancel(home.runs.accept(new(owner=owner))[0].id)
    lines = usage("--home", tmp_path).output.splitlines()
    assert lines == [f"{name}: 1 runs, 0.0 s of music, 0.0 s of computation" for name in ("(no key)", "bob")]
    (first, _) = json.loads(usage("--home", tmp_path, "--json").output)
    assert first == {"owner": "", "runs": 1, "music_seconds": 0.0, "compute_seconds": 0.0}
    assert usage("--home", tmp_path, "--until", "2020-01-01").output == "no runs\n"
    assert usage("--home", tmp_path / "nowhere").exit_code == 2


def test_bytes_that_are_kept_are_listed_for_every_key(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        assert usage("--home", tmp_path, "--stored").output == "no files\n"
        for owner in ("bob", ""):
            home.assets.add(home.artifacts.put(b"take"), "audio", content_type="t", file_name="f", owner=owner)
    assert usage("--home", tmp_path, "--stored").output == "(no key): 4 bytes\nbob: 4 bytes\n"
    listed = json.loads(usage("--home", tmp_path, "--stored", "--json").output)
    assert listed == [{"owner": "", "stored_bytes": 4}, {"owner": "bob", "stored_bytes": 4}]
    assert usage("--home", tmp_path, "--stored", "--since", "2026-01-01").exit_code == 2
