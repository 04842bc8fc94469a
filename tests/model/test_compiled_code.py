"""Compiled code is kept where no other user can put any."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from acestep_flows.model.compiled_code import VARIABLE, keep_compiled_code


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, "")  # so that it is put back
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "shared"))
    (tmp_path / "shared").mkdir()


def test_in_the_cache(tmp_path: Path) -> None:
    keep_compiled_code(tmp_path / "cache")
    assert os.environ[VARIABLE] == str(tmp_path / "cache" / "compiled")
    assert (tmp_path / "cache" / "compiled").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("cache", [None, Path("/proc/nowhere")])
def test_without_a_cache_in_a_new_folder(cache: Path | None, tmp_path: Path) -> None:
    keep_compiled_code(cache)
    folder = Path(os.environ[VARIABLE])
    assert folder.parent == tmp_path / "shared"
    assert folder.stat().st_mode & 0o077 == 0


def test_not_in_a_cache_that_others_may_write_to(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    keep_compiled_code(cache)
    assert Path(os.environ[VARIABLE]).parent == tmp_path / "shared"


def test_the_users_choice_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, "/mine")
    keep_compiled_code(tmp_path)
    assert os.environ[VARIABLE] == "/mine"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from torch, as it is imported further
def test_a_compiled_model_does_not_use_the_shared_folder(small_root: Path, tmp_path: Path) -> None:
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.placement import Placement
    from acestep_flows.model.transformer import Transformer

    Transformer.load(Checkpoint.open(small_root, cache=tmp_path / "cache"), Placement(compile=True))
    assert os.environ[VARIABLE] == str(tmp_path / "cache" / "compiled")
