"""Deletion by the owner: gone for good, and nothing that others need."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import AssetRecord, NewOutput, RunState
from acestep_flows.api.store.retention import DAY, RetentionPolicy, SweepResult, sweep
from acestep_flows.errors import Conflict, NotFound
from tests.api.store.clock import new
from tests.api.toys import opened

KEEP = RetentionPolicy(None, None, None, None, None)


def upload(home: Home, content: bytes, owner: str = "") -> AssetRecord:
    return home.assets.add(home.artifacts.put(content), "audio", content_type="t", file_name="f", owner=owner)


def finished(home: Home, content: bytes, owner: str = "") -> str:
    home.runs.accept(new(owner=owner, priority=1))
    claimed = home.leases.claim("e")
    assert claimed is not None
    outputs = [
        NewOutput("audio", "audio", "t", "f", home.artifacts.put(content)),
        NewOutput("latents", "latents", "t", "f", home.artifacts.put(content + b" as latents")),
    ]
    assert home.leases.finish(claimed.lease, RunState.SUCCEEDED, outputs=outputs)
    return claimed.record.id


def test_a_forgotten_run_is_gone_with_its_files(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        run, other = finished(home, b"song"), finished(home, b"song two")
        record = home.runs.get(run)
        digests = [output.digest for output in record.outputs.values()]
        home.derived.put(digests[0], "mp3", b"derived")
        home.deletion.forget_run(run)
        attempts: list[Callable[[], object]] = [
            lambda: home.runs.get(run),
            lambda: home.assets.get(record.outputs["audio"].asset),
            lambda: home.deletion.forget_run(run),
        ]
        for attempt in attempts:
            with pytest.raises(NotFound):
                attempt()
        assert home.runs.events(run) == ()
        assert sweep(home, KEEP, grace=0) == SweepResult(bytes=len(b"song" + b"song as latents" + b"derived"))
        for digest in digests:
            with pytest.raises(NotFound):
                home.artifacts.open(digest)
        assert home.derived.find(digests[0], "mp3") is None
        assert not home.runs.get(other).outputs["audio"].expired


def test_content_that_others_have_too_stays(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        run, hers = finished(home, b"song", "alice"), upload(home, b"song", "bob")
        home.deletion.forget_run(run, "alice")
        sweep(home, KEEP, grace=0)
        assert home.artifacts.open(home.assets.get(hers.id).digest).read() == b"song"


@pytest.mark.parametrize("claim", [False, True])
def test_a_run_in_hand_is_not_forgotten(tmp_path: Path, claim: bool) -> None:
    with opened(tmp_path) as home:
        run = home.runs.accept(new())[0].id
        if claim:
            assert home.leases.claim("e") is not None
        with pytest.raises(Conflict, match="running; cancel it" if claim else "queued; cancel it"):
            home.deletion.forget_run(run)
        assert home.runs.get(run).id == run


def test_what_an_unfinished_run_reads_stays(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        run, asset = finished(home, b"song"), upload(home, b"take")
        output = home.runs.get(run).outputs["audio"].asset
        reader = home.runs.accept(new(assets=[asset.id, output]))[0].id
        attempts: list[Callable[[], None]] = [
            lambda: home.deletion.forget_run(run),
            lambda: home.deletion.delete_asset(asset.id),
            lambda: home.deletion.delete_asset(output),
        ]
        for attempt in attempts:
            with pytest.raises(Conflict, match=reader):
                attempt()
        home.deletion.delete_asset(home.runs.get(run).outputs["latents"].asset)
        home.runs.cancel(reader)
        home.deletion.delete_asset(output)
        home.deletion.delete_asset(asset.id)
        home.deletion.forget_run(run)


def test_a_deleted_output_stays_as_a_record(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        run = finished(home, b"song")
        home.deletion.delete_asset(home.runs.get(run).outputs["audio"].asset)
        outputs = home.runs.get(run).outputs
        assert {name: output.expired for name, output in outputs.items()} == {"audio": True, "latents": False}
        with pytest.raises(NotFound, match="deleted already"):
            home.deletion.delete_asset(outputs["audio"].asset)
        with pytest.raises(NotFound):
            home.runs.accept(new(assets=[outputs["audio"].asset]))


def test_strangers_delete_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        run, asset = finished(home, b"song", "alice"), upload(home, b"take", "alice")
        output = home.runs.get(run).outputs["audio"].asset
        attempts: list[Callable[[], None]] = [
            lambda: home.deletion.forget_run(run, "bob"),
            lambda: home.deletion.delete_asset(output, "bob"),
            lambda: home.deletion.delete_asset(asset.id, "bob"),
        ]
        for attempt in attempts:
            with pytest.raises(NotFound):
                attempt()
        assert home.assets.get(asset.id) == asset
        assert not home.runs.get(run).outputs["audio"].expired


def test_uploads_are_listed_newest_first(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        finished(home, b"song", "alice")
        mine = [upload(home, str(number).encode(), "alice") for number in range(5)]
        upload(home, b"his", "bob")
        first = home.assets.uploads(owner="alice", limit=3)
        assert list(first.assets) == mine[:1:-1]
        rest = home.assets.uploads(owner="alice", limit=3, after=first.next)
        assert (list(rest.assets), rest.next) == (mine[1::-1], None)
        assert len(home.assets.uploads().assets) == 6
        home.deletion.delete_asset(mine[4].id)
        assert home.assets.uploads(owner="alice").assets[0] == mine[3]


def test_derived_files_go_before_anything_else(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        asset = upload(home, b"s" * 10)
        blob = home.derived.put(asset.digest, "mp3", b"d" * 10)
        assert home.derived.find(asset.digest, "mp3") == blob
        assert home.derived.find(asset.digest, "ogg") is None
        assert home.derived.put(asset.digest, "mp3", b"e" * 10) == home.derived.find(asset.digest, "mp3")
        sweep(home, RetentionPolicy(bytes=20), grace=0)
        assert home.derived.find(asset.digest, "mp3") is not None
        sweep(home, RetentionPolicy(bytes=15), grace=0)
        assert home.derived.find(asset.digest, "mp3") is None
        assert home.assets.get(asset.id) == asset
        sweep(home, RetentionPolicy(files=DAY), asset.created_at + 2 * DAY, grace=0)
        with pytest.raises(NotFound):
            home.assets.get(asset.id)
