"""Assembling a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from acestep_flows.api.execution.executor import Executor
from acestep_flows.api.http.keys import Keyring, new_key
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


def test_a_server_that_drains_takes_no_runs(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path) as home, Here(strict) as runner:
        pool = Pool.read("local")
        service = assemble(home, pool, runner, read_settings(), Keyring(), IngressOptions()).service  # type: ignore[arg-type]
        home.leases.renew(service.server, 4, [])
        assert service.ready() == ""
        home.switches.drain(service.server, "ops", "kernel update")
        assert service.ready() == "the server drains (kernel update)"
        home.switches.undrain(service.server)
        assert service.ready() == ""


def test_keys_that_changed_since_the_last_start_are_in_the_audit_log(strict: Checkpoint, tmp_path: Path) -> None:
    (secret, alice), (_, bob), (_, renewed) = new_key("alice"), new_key("bob"), new_key("alice")
    limited = bob.model_copy(update={"runs": 2})
    with opened(tmp_path) as home, Here(strict) as runner:
        for keys in ([alice, bob], [alice, bob], [renewed, limited], [limited]):
            assemble(home, Pool.read("local"), runner, read_settings(), Keyring(keys), IngressOptions())  # type: ignore[arg-type]
        told = [(entry.action, entry.object) for entry in reversed(home.audit.list())]
        assert told == [
            ("key.added", "alice"),
            ("key.added", "bob"),
            ("key.changed", "alice"),
            ("key.changed", "bob"),
            ("key.removed", "alice"),
        ]
        everything = str([vars(entry) for entry in home.audit.list()])
        assert secret not in everything
        assert alice.sha256 not in everything
