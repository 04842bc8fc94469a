"""The encode job in several processes: a Ray Data job whose rows are shards. Of this package, only this needs Ray."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from acestep_flows import storage
from acestep_flows.errors import Cancelled
from acestep_flows.runtime.bulk.cluster import cluster
from acestep_flows.training.data.encoder import Encoder, EncodeRecipe, StopCheck, encode_shard

TICK = 0.2
"""Seconds between two checks for a stop request."""
STOP = ".stop"
"""A file that tells actors to stop after their song. Shutting Ray down under a running job may end this process too."""


class _ShardEncoder:
    """The actor: it holds one encoder and writes the shards of its rows until the stop file exists."""

    def __init__(self, recipe: str, folder: str, device: str, size: int) -> None:
        self._recipe, self._folder, self._device, self._size = recipe, Path(folder), device, size

    @cached_property
    def _encoder(self) -> Encoder:
        import torch

        torch.set_num_threads(1)
        return Encoder(EncodeRecipe.model_validate_json(self._recipe), self._device, self._size)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        stop = self._folder / STOP
        try:
            if stop.exists():  # checked before an encoder is loaded
                raise Cancelled("stopped")
            songs, broken = encode_shard(self._encoder, self._folder, int(row["shard"]), stop.exists)
        except Cancelled:
            songs, broken = 0, 0
        return {"songs": songs, "broken": broken}


class _EncodeJob(threading.Thread):
    """The running Ray Data job. It has a thread of its own, so that the main thread can look for stop requests.

    Attributes:
        results: a row for each finished shard, then None at the end or the exception that ended the job.
    """

    def __init__(self, rows: Callable[[], Iterator[dict[str, Any]]]) -> None:
        super().__init__(name="ray data", daemon=True)
        self._rows = rows
        self.results: queue.Queue[dict[str, Any] | Exception | None] = queue.Queue()
        self.start()

    def run(self) -> None:
        try:
            for row in self._rows():
                self.results.put(row)
            self.results.put(None)
        except Exception as error:  # noqa: BLE001 - the main thread raises it again
            self.results.put(error)


def encode_shards(
    recipe: EncodeRecipe,
    folder: Path,
    shards: Sequence[int],
    size: int,
    workers: int,
    device: str,
    stop_requested: StopCheck,
) -> Iterator[tuple[int, int]]:
    """Encode `shards` in `workers` processes. Yields the songs and the broken songs of each finished shard.

    Raises:
        Cancelled: the user asked to stop; unfinished shards are not written.
    """
    gpus = 1 if device.startswith("cuda") else 0
    arguments = (recipe.model_dump_json(), str(folder.resolve()), "cuda:0" if gpus else device, size)
    stop = folder / STOP
    stop.unlink(missing_ok=True)
    with cluster(workers, workers * gpus):
        import ray.data

        def rows() -> Iterator[dict[str, Any]]:
            ray.data.DataContext.get_current().enable_progress_bars = False  # for this thread; `report` shows progress
            for name in ("ray", "ray.data"):  # the library sets these levels at its first use
                logging.getLogger(name).setLevel(logging.ERROR)
            numbers = ray.data.from_items([{"shard": number} for number in shards], override_num_blocks=len(shards))
            counts = numbers.map(
                _ShardEncoder,  # type: ignore[arg-type]
                fn_constructor_args=arguments,
                compute=ray.data.ActorPoolStrategy(size=workers),
                num_gpus=gpus or None,
            )
            yield from counts.iter_rows()

        try:
            for row in _poll(_EncodeJob(rows), stop, stop_requested):
                if row["songs"]:
                    yield int(row["songs"]), int(row["broken"])
            if stop.exists():
                raise Cancelled("stopped between two songs")
        finally:
            stop.unlink(missing_ok=True)


def _poll(job: _EncodeJob, stop: Path, stop_requested: StopCheck) -> Iterator[dict[str, Any]]:
    """The rows of a running job. Writes the stop file once the user has asked to stop."""
    while True:
        if stop_requested() and not stop.exists():
            storage.write(stop, b"")
        try:
            row = job.results.get(timeout=TICK)
        except queue.Empty:
            continue
        if row is None:
            return
        if isinstance(row, Exception):
            raise row
        yield row
