"""The encode job over several processes: a Ray Data job whose rows are shards. Only this module needs Ray."""

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
from acestep_flows.training.data.encoder import Encoder, EncodeRecipe, encode_shard

TICK = 0.2
"""Seconds between two looks at whether somebody wants to stop."""
STOP = ".stop"
"""A file that tells actors to stop after their song. To end Ray under a job that runs may end this process with it."""


class _Shards:
    """What each actor does: it keeps an encoder and writes the shards it is given, until it is to stop."""

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
            if stop.exists():  # before an encoder is loaded
                raise Cancelled("stopped")
            songs, broken = encode_shard(self._encoder, self._folder, int(row["shard"]), stop.exists)
        except Cancelled:
            songs, broken = 0, 0
        return {"songs": songs, "broken": broken}


class _EncodeJob(threading.Thread):
    """The job at work. Not in the main thread, where nothing else would be heard until a shard is done."""

    def __init__(self, rows: Callable[[], Iterator[dict[str, Any]]]) -> None:
        super().__init__(name="ray data", daemon=True)
        self._rows = rows
        self.said: queue.Queue[dict[str, Any] | Exception | None] = queue.Queue()
        self.start()

    def run(self) -> None:
        try:
            for row in self._rows():
                self.said.put(row)
            self.said.put(None)
        except Exception as error:  # noqa: BLE001 - raised again by the main thread
            self.said.put(error)


def encode_shards(
    recipe: EncodeRecipe,
    folder: Path,
    shards: Sequence[int],
    size: int,
    workers: int,
    device: str,
    asked: Callable[[], bool],
) -> Iterator[tuple[int, int]]:
    """Encode `shards` in `workers` processes; gives the number of songs and of broken ones after each.

    Raises:
        Cancelled: somebody asked to stop; shards that were in work are not written.
    """
    gpus = 1 if device.startswith("cuda") else 0
    constructed = (recipe.model_dump_json(), str(folder.resolve()), "cuda:0" if gpus else device, size)
    stop = folder / STOP
    stop.unlink(missing_ok=True)
    with cluster(workers, workers * gpus):
        import ray.data

        def rows() -> Iterator[dict[str, Any]]:
            ray.data.DataContext.get_current().enable_progress_bars = False  # of this thread; `report` tells
            for name in ("ray", "ray.data"):  # whose levels the first use of the library sets
                logging.getLogger(name).setLevel(logging.ERROR)
            given = ray.data.from_items([{"shard": number} for number in shards], override_num_blocks=len(shards))
            made = given.map(
                _Shards,  # type: ignore[arg-type]
                fn_constructor_args=constructed,
                compute=ray.data.ActorPoolStrategy(size=workers),
                num_gpus=gpus or None,
            )
            yield from made.iter_rows()

        said = _EncodeJob(rows).said
        try:
            while True:
                if asked() and not stop.exists():
                    storage.write(stop, b"")
                try:
                    row = said.get(timeout=TICK)
                except queue.Empty:
                    continue
                if row is None:
                    break
                if isinstance(row, Exception):
                    raise row
                if row["songs"]:
                    yield int(row["songs"]), int(row["broken"])
            if stop.exists():
                raise Cancelled("stopped between two songs")
        finally:
            stop.unlink(missing_ok=True)
