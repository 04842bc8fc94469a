"""Who writes the outputs of a run, where the artifacts are in an object store; files are the same, whoever does."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acestep_flows.api.execution.encode_outputs import write_outputs
from acestep_flows.api.execution.output_store import REST_SECONDS, OutputStore
from acestep_flows.api.execution.store_outputs import StoredOutputs, store_outputs
from acestep_flows.api.execution.store_threads import StoreThreads
from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.unfinished_files import UnfinishedElsewhere
from acestep_flows.errors import InputError, LostProcess, StorageError, Unavailable
from acestep_flows.graph.content import with_handles
from acestep_flows.graph.records.recipe import GraphPart, NodePart, Recipe
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.settings import ARTIFACTS
from acestep_flows.values import Audio, Latents, Report
from tests.api.store.clock import Clock

MOCK = "mock:///bucket/files"
"""An object store in this process."""

SECRET = "marked-secret-0123"
RECIPE = Recipe(recipe=1, graph=GraphPart(name="g", digest="d"), nodes=(NodePart(id="a", stage="s"),))
LOUD = Audio(np.full((2, 4800), 2.0, np.float32), 48_000)
QUIET = Audio(np.zeros((2, 4800), np.float32), 44_100)
OUTPUTS: Mapping[str, Any] = {
    "audio": LOUD,
    "stems": {"vocals": QUIET, "drums": LOUD, "none": None},
    "latents": Latents(np.ones((8, 16, 3), np.float32)),
    "report": Report({"warnings": ["a word", "a word"]}),
    "score": 0.5,
}


class Apart(LocalRunner):
    """A runner that counts what it is asked for, and can fail as one does whose processes do."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self.failure: Exception | None = None
        self.applied = self.fetched = 0

    async def fetch(self, content: Any) -> Any:
        self.fetched += 1
        return await super().fetch(content)

    async def apply(self, work: Callable[..., Sequence[Any]], items: Sequence[Any], *more: Any) -> list[Any]:
        self.applied += 1
        if self.failure is not None:
            raise self.failure
        return await super().apply(work, items, *more)


@pytest.fixture
def runner(strict: Checkpoint) -> Iterator[Apart]:
    with Apart(strict) as runner:
        yield runner


def artifacts_in(folder: Path, place: Path | str) -> Artifacts:
    folder.mkdir(exist_ok=True)
    return Artifacts(Database.file(folder / "runs.sqlite"), place)


def stored_by(store: OutputStore, outputs: Mapping[str, Any] = OUTPUTS, format: str = "flac") -> StoredOutputs:
    return asyncio.run(store.store(with_handles(outputs), RECIPE, format, "g-1"))


def test_files_and_words_are_the_same_whoever_writes(runner: Apart, tmp_path: Path) -> None:
    here, there = artifacts_in(tmp_path / "a", tmp_path / "a" / "files"), artifacts_in(tmp_path / "b", MOCK)
    old = store_outputs(OUTPUTS, RECIPE, artifacts=here, format="flac", stem="g-1")
    new = stored_by(OutputStore(runner, there, StoreThreads(1, "test")))
    assert runner.fetched == 0
    assert old == new
    assert [output.name for output in new.outputs] == [
        "audio", "stems.vocals", "stems.drums", "latents", "report", "score", "recipe"
    ]  # fmt: skip
    assert {"a word", "output stems.vocals is silent"} < set(new.warnings)
    for output in new.outputs:
        content = there.open(output.blob.digest).read()
        assert len(content) == output.blob.bytes
        assert content == here.open(output.blob.digest).read()
    assert not left_over(there), "every file has its place"


def left_over(artifacts: Artifacts) -> list[str]:
    from pyarrow import fs

    files: Any = artifacts.unfinished_elsewhere
    return [info.path for info in files._files.get_file_info(fs.FileSelector(files.folder))]


def test_a_folder_of_this_machine_is_written_by_this_process(runner: Apart, tmp_path: Path) -> None:
    artifacts = artifacts_in(tmp_path, tmp_path / "files")
    assert artifacts.unfinished_elsewhere is None
    assert stored_by(OutputStore(runner, artifacts, StoreThreads(1, "test"))).outputs
    assert (runner.fetched, runner.applied) == (1, 0)


@pytest.mark.parametrize("failure", [Unavailable("no credentials"), LostProcess("five times")])
def test_a_pool_that_cannot_write_is_told_once_and_asked_again(
    failure: Exception, runner: Apart, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "acestep_flows.api.execution")
    clock = Clock()
    store = OutputStore(runner, artifacts_in(tmp_path, MOCK), StoreThreads(1, "test"), clock)
    runner.failure = failure
    for _ in range(3):
        assert stored_by(store).outputs
    assert (runner.applied, runner.fetched) == (1, 3), "not asked again at once"
    clock.now += REST_SECONDS + 1
    assert stored_by(store).outputs
    assert runner.applied == 2
    (line,) = caplog.messages
    assert str(failure) in line
    assert "the server itself writes outputs" in line
    clock.now += REST_SECONDS + 1
    runner.failure = None
    assert stored_by(store).outputs
    assert runner.fetched == 4


def test_a_store_that_is_away_is_not_blamed_on_the_pool(
    runner: Apart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    artifacts = artifacts_in(tmp_path, MOCK)
    runner.failure = Unavailable("slow down")

    def away(folder: str) -> None:
        raise OSError("slow down")

    monkeypatch.setattr(artifacts._reader, "check", away)
    with pytest.raises(Unavailable, match="the artifact store cannot be reached"):
        stored_by(OutputStore(runner, artifacts, StoreThreads(1, "test")))
    assert runner.fetched == 0
    assert not caplog.messages


def test_audio_that_a_format_cannot_hold_is_refused_in_the_same_words(runner: Apart, tmp_path: Path) -> None:
    nothing = {"audio": Audio(np.zeros((2, 0), np.float32), 48_000)}
    words = list[str]()
    for place in (tmp_path / "files", MOCK):
        artifacts = artifacts_in(tmp_path, place)
        with pytest.raises(InputError) as caught:
            stored_by(OutputStore(runner, artifacts, StoreThreads(1, "test")), nothing)
        words.append(str(caught.value))
    assert words[0] == words[1]
    assert (runner.applied, runner.fetched) == (1, 1), "nobody tries it again"


def test_keys_of_a_store_stay_in_their_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow import fs

    from acestep_flows.api.store.unfinished_files import UnfinishedFiles

    url = f"s3://KEY:{SECRET}@songs/home?region=us-east-1&scheme=http&endpoint_override=127.0.0.1%3A1"
    files, root = fs.FileSystem.from_uri(url)
    sent = pickle.dumps(UnfinishedFiles(files, root, url))
    assert SECRET.encode() not in sent
    assert b"KEY" not in sent
    assert isinstance(pickle.loads(sent), UnfinishedElsewhere)


def test_what_is_no_store_elsewhere_is_a_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ARTIFACTS, "s3://other")
    with pytest.raises(StorageError):
        write_outputs([{"name": "score", "content": 1}], UnfinishedElsewhere("what://songs"), "g", "flac", {})
