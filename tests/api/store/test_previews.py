"""Previews in the store: one for each node, never without a lease, deleted with the run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import Lease, RunState
from acestep_flows.api.store.retention import DAY, RetentionPolicy, SweepResult, sweep
from acestep_flows.errors import NotFound
from tests.api.store.clock import new
from tests.api.toys import opened


def claimed(home: Home) -> Lease:
    home.runs.accept(new(preview_every=5))
    claimed_run = home.leases.claim("e")
    assert claimed_run is not None
    assert claimed_run.record.preview_every == 5
    return claimed_run.lease


def put(home: Home, lease: Lease, content: bytes, step: int = 5, node: str = "take") -> bool:
    return home.previews.put(lease, node, step, 20, 1.5, home.artifacts.put(content))


def files(root: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in (root / "artifacts").glob("??/*"))


def test_a_preview_replaces_the_one_before_and_its_file(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        lease = claimed(home)
        with pytest.raises(NotFound, match="no preview of a node 'take'"):
            home.previews.get(lease.run, "take")
        for step in (5, 10, 15):
            assert put(home, lease, b"after %d" % step, step)
        assert put(home, lease, b"another", node="b/takes[1]")
        assert put(home, lease, b"after 15", 15)  # repeated after the process died
        preview = home.previews.get(lease.run, "take")
        assert (preview.step, preview.steps, preview.seconds, preview.bytes) == (15, 20, 1.5, 8)
        assert [preview.node for preview in home.previews.all(lease.run)] == ["b/takes[1]", "take"]
        assert files(tmp_path) == [b"after 15", b"another"]


def test_a_lost_lease_stores_no_preview(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        lease = claimed(home)
        assert not put(home, dataclasses.replace(lease, attempt=7), b"late")
        home.leases.finish(lease, RunState.SUCCEEDED)
        assert not put(home, lease, b"too late")
        assert home.previews.all(lease.run) == ()


def test_previews_expire_after_their_run(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        working, over = claimed(home), claimed(home)
        assert put(home, working, b"at work")
        assert put(home, over, b"over")
        home.leases.finish(over, RunState.CANCELLED)
        ended = home.runs.get(over.run).finished_at
        assert ended is not None
        assert sweep(home, RetentionPolicy(), ended + DAY / 2, grace=0) == SweepResult()
        assert sweep(home, RetentionPolicy(bytes=11), ended + 1, grace=0) == SweepResult()
        assert sweep(home, RetentionPolicy(bytes=10), ended + 1, grace=0) == SweepResult(files=1, bytes=4)
        assert files(tmp_path) == [b"at work"]
        home.leases.finish(working, RunState.SUCCEEDED)
        assert sweep(home, RetentionPolicy(), ended + 2 * DAY, grace=0) == SweepResult(files=1, bytes=7)
        assert files(tmp_path) == []


def test_deleting_a_run_deletes_its_previews(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        lease = claimed(home)
        assert put(home, lease, b"heard")
        home.leases.finish(lease, RunState.FAILED)
        ended = home.runs.get(lease.run).finished_at
        assert ended is not None
        assert sweep(home, RetentionPolicy(runs=DAY, previews=None), ended + 2 * DAY, grace=0) == SweepResult(
            runs=1, bytes=5
        )
        assert home.previews.all(lease.run) == ()
        assert files(tmp_path) == []
