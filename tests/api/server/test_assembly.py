"""Assembling a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from acestep_flows.api.execution.executor import Executor
from acestep_flows.api.http.keys import Keyring
from acestep_flows.api.server import assembly
from acestep_flows.api.server.assembly import assemble
from acestep_flows.api.server.options import IngressOptions
from acestep_flows.api.store.retention import DAY, RetentionPolicy
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.settings import read_settings
from tests.api.server_process import Here
from tests.api.toys import opened


@pytest.mark.parametrize(
    ("keep", "expected", "cache"),
    [
        ({}, RetentionPolicy(), 20 * 2**30),
        ({"days": 2, "outputs_gb": 0.5, "cache_gb": 1}, RetentionPolicy(files=2 * DAY, bytes=2**29), 2**30),
        ({"days": None, "outputs_gb": None}, RetentionPolicy(files=None, bytes=None), 20 * 2**30),
    ],
)
def test_retention_is_set_by_the_pool_file(
    strict: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keep: dict[str, float | None],
    expected: RetentionPolicy,
    cache: int,
) -> None:
    policies: list[RetentionPolicy] = []

    def recording(*args: object, retention: RetentionPolicy, **options: object) -> object:
        policies.append(retention)
        return Executor(*args, retention=retention, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(assembly, "Executor", recording)
    local = Pool.read("local").model_dump(exclude_unset=True)
    pool = Pool.checked(local | {"limits": {"keep": keep}})
    with opened(tmp_path) as home, Here(strict) as runner:
        parts = assemble(home, pool, runner, read_settings(), Keyring(), IngressOptions())  # type: ignore[arg-type]
        store = parts.scheduler.cache.store
        assert policies == [expected]
        assert store is not None
        assert store.budget == cache
