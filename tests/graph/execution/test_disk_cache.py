"""The disk tier: round trips, what it refuses to believe, its budget, and processes that share it."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from acestep_flows.errors import StorageError
from acestep_flows.graph.content import sha256
from acestep_flows.graph.execution import disk_cache
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.values import Audio, Latents, LyricStates, Noise, Report, Span

KEY, OTHER = "ab" * 32, "cd" * 32


def latents(fill: float = 1.0, frames: int = 4) -> Latents:
    return Latents(np.full((8, 16, frames), fill, np.float32))


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path)


def size(store: DiskStore) -> int:
    return sum(path.stat().st_size for path in store.root.rglob("*.safetensors"))


def test_values_of_every_shape_come_back(store: DiskStore) -> None:
    states = np.zeros((2, 3), np.float32)
    outputs: dict[str, Any] = {
        "latents": latents(),
        "empty": Audio(np.zeros((2, 0), np.float32), 48_000),
        "strided": Audio(np.arange(12, dtype=np.float32).reshape(6, 2).T, 48_000),
        "noise": Noise(latents().array, seed=2**32 - 1),
        "lyrics": LyricStates(
            "la\n", np.array([1, 2]), np.ones(2, np.float32), states, states, states, ("one: unknown",)
        ),
        "span": Span(1.5, 2.5),
        "report": Report({"loudness": -14.1, "notes": ["ä", None]}),
        "takes": [latents(2.0), [latents(3.0), None]],
        "map": {"value": [latents(4.0)], "json": {"list": []}},
        "score": 0.1,
        "text": "lone \ud800 surrogate",
        "nothing": None,
    }
    store.write(KEY, outputs, "stage")
    assert store.read(KEY) == outputs


json_leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
contents = st.recursive(
    json_leaves | st.builds(latents, st.floats(-10, 10, width=32), st.integers(0, 3)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None)
@given(outputs=st.dictionaries(st.text(), contents, max_size=3))
def test_any_content_comes_back(tmp_path_factory: pytest.TempPathFactory, outputs: dict[str, Any]) -> None:
    store = DiskStore(tmp_path_factory.mktemp("store"))
    store.write(KEY, outputs, "stage")
    assert store.read(KEY) == outputs


def test_equal_values_are_kept_once(store: DiskStore) -> None:
    store.write(KEY, {"one": latents(frames=100), "both": [latents(frames=100)] * 5}, "stage")
    assert size(store) < 2 * latents(frames=100).array.nbytes


def test_peek_tells_kinds_digests_and_sizes(store: DiskStore) -> None:
    store.write(KEY, {"latents": latents(), "score": 0.5}, "stage")
    peeked = store.peek(KEY)
    assert peeked is not None
    assert peeked["score"] == 0.5
    handle: Any = peeked["latents"]
    assert (handle.kind, handle.digest, handle.token) == ("latents", latents().digest, None)
    assert handle.nbytes >= latents().array.nbytes


def test_what_is_not_there_is_not_found(store: DiskStore) -> None:
    assert store.read(KEY) is None
    assert store.peek(KEY) is None
    assert KEY not in store


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def cut_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path) -> None:
    path.write_bytes(os.urandom(5000))


def flip_tensor(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def flip_json(path: Path) -> None:
    content = path.read_bytes()
    assert content.count(b"0.25") == 1
    path.write_bytes(content.replace(b"0.25", b"0.75"))


def foreign(path: Path) -> None:
    save_file({"weight": np.zeros(3, np.float32)}, path)


def foreign_manifest(path: Path) -> None:
    manifest = json.dumps({"schema": 99, "key": KEY})
    save_file({"weight": np.zeros(3, np.float32)}, path, {"manifest": manifest, "sha256": sha256(manifest)})


def odd_manifest(path: Path) -> None:
    """Signed and addressed like ours, and nonsense inside."""
    manifest = json.dumps({"schema": disk_cache.SCHEMA, "key": KEY, "outputs": {"latents": {"value": 7}}, "values": []})
    save_file({"weight": np.zeros(3, np.float32)}, path, {"manifest": manifest, "sha256": sha256(manifest)})


def lost_tensor(path: Path) -> None:
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors.popitem()
    save_file(tensors, path, metadata)


def of_another_key(path: Path) -> None:
    store = DiskStore(path.parents[1])
    store.write(OTHER, {"latents": latents(9.0), "score": 0.25}, "stage")
    os.replace(store.path(OTHER), path)


DAMAGES = [
    truncate, cut_header, empty, noise, flip_tensor, flip_json,
    foreign, foreign_manifest, odd_manifest, lost_tensor, of_another_key,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_entry_is_removed(store: DiskStore, damage: Any, caplog: pytest.LogCaptureFixture) -> None:
    store.write(KEY, {"latents": latents(), "score": 0.25}, "stage")
    damage(store.path(KEY))
    store.peek(KEY)  # May believe damaged tensors, which it does not read; never raises.
    assert store.read(KEY) is None
    assert not store.path(KEY).exists()
    assert "is damaged and removed" in caplog.text
    store.write(KEY, {"latents": latents(), "score": 0.25}, "stage")
    assert store.read(KEY) == {"latents": latents(), "score": 0.25}


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_no_flipped_bit_is_believed(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int) -> None:
    store = DiskStore(tmp_path_factory.mktemp("store"))
    outputs = {"latents": latents(), "score": 0.25}
    store.write(KEY, outputs, "stage")
    content = bytearray(store.path(KEY).read_bytes())
    content[at % len(content)] ^= 1 << bit
    store.path(KEY).write_bytes(content)
    assert store.read(KEY) in (None, outputs)  # A flip in padding harms nothing.


def test_the_folder_stays_within_its_budget(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, budget=100_000)
    for i in range(60):
        store.write(f"{i:02}" * 32, {"latents": latents(i, frames=20)}, "stage")
        assert size(store) <= 100_000
    assert size(store) > 60_000


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, budget=50_000)
    keys = [f"{i:02}" * 32 for i in range(4)]
    for age, key in enumerate(keys[:3]):
        store.write(key, {"latents": latents(frames=25)}, "stage")  # About 13.6 kB each.
        os.utime(store.path(key), times=(1000 + age, 1000 + age))
    assert store.read(keys[0]) is not None  # Used just now.
    store.write(keys[3], {"latents": latents(frames=25)}, "stage")
    assert [key in store for key in keys] == [True, False, True, True]


def test_what_a_run_at_work_has_used_stays_whatever_the_budget(tmp_path: Path) -> None:
    begun: list[float | None] = [2000.0]
    store = DiskStore(tmp_path, budget=50_000, needed_since=lambda: begun[0])
    keys = [f"{i:02}" * 32 for i in range(8)]
    for age, key in enumerate(keys[:2]):
        store.write(key, {"latents": latents(frames=25)}, "stage")  # About 13.6 kB each.
        os.utime(store.path(key), times=(1000 + age, 1000 + age))
    store.touch(keys[0])  # By the run, which found it in memory.
    for key in keys[2:6]:
        store.write(key, {"latents": latents(frames=25)}, "stage")
    assert [key in store for key in keys[:6]] == [True, False, True, True, True, True]
    begun[0] = None
    store.write(keys[6], {"latents": latents(frames=25)}, "stage")
    assert size(store) <= 50_000


def test_what_others_wrote_counts(tmp_path: Path) -> None:
    mine, theirs = DiskStore(tmp_path, budget=100_000), DiskStore(tmp_path, budget=100_000)
    for i in range(50):
        store = (mine, theirs)[i % 2]
        store.write(f"{i:02}" * 32, {"latents": latents(i, frames=2)}, "stage")
        assert size(store) <= 100_000 * (1 + 2 / 16)


def test_an_entry_larger_than_the_budget_is_not_kept(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, budget=10_000)
    store.write(OTHER, {"latents": latents(frames=2)}, "stage")
    store.write(KEY, {"latents": latents(frames=50)}, "stage")
    assert (KEY in store, OTHER in store) == (False, True)


def test_unfinished_files_of_the_dead_are_swept_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    folder = tmp_path / "00"
    folder.mkdir()
    for name, age in (("old", disk_cache.STALE_SECONDS + 60), ("new", 0.0)):
        (folder / f"{name}.part").write_bytes(b"x")
        os.utime(folder / f"{name}.part", times=(time.time() - age,) * 2)
    store.write(KEY, {"score": 1}, "stage")
    assert sorted(path.name for path in folder.iterdir()) == ["new.part"]


def test_a_full_disk_is_a_storage_error_and_leaves_nothing(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk_cache, "save_file", full)
    with pytest.raises(StorageError, match="the cache cannot be written: no space left$"):
        store.write(KEY, {"score": 1}, "stage")
    assert not [path for path in store.root.rglob("*") if path.is_file()]


def test_other_peoples_files_are_left_alone(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, budget=20_000)
    mine = [tmp_path / "notes.safetensors", tmp_path / "timings.json", tmp_path / "folder" / "song.safetensors"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 50_000)
    for i in range(5):
        store.write(f"{i:02}" * 32, {"latents": latents(i, frames=20)}, "stage")
    assert all(path.exists() for path in mine)
