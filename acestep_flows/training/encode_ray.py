"""The encode job over several processes: a Ray Data job whose rows are shards. Only this module needs Ray."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from acestep_flows.errors import Cancelled
from acestep_flows.runtime.bulk.cluster import cluster
from acestep_flows.training.encode import Encoder, EncodeRecipe, encode_shard

TICK = 0.2
"""Seconds between two looks at whether somebody wants to stop."""


class _Shards:
    """What each actor does: it keeps an encoder and writes the shards it is given."""

    def __init__(self, recipe: str, folder: str, device: str, size: int) -> None:
        import torch

        torch.set_num_threads(1)
        self._encoder = Encoder(EncodeRecipe.model_validate_json(recipe), device, size)
        self._folder = Path(folder)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        songs, broken = encode_shard(self._encoder, self._folder, int(row["shard"]))
        return {"songs": songs, "broken": broken}


class _Job(threading.Thread):
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
    with cluster(workers, workers * gpus):
        import ray.data

        def rows() -> Iterator[dict[str, Any]]:
            given = ray.data.from_items([{"shard": number} for number in shards], override_num_blocks=len(shards))
            made = given.map(
                _Shards,  # type: ignore[arg-type]
                fn_constructor_args=constructed,
                compute=ray.data.ActorPoolStrategy(size=workers),
                num_gpus=gpus or None,
            )
            yield from made.iter_rows()

        said = _Job(rows).said
        while True:
            if asked():
                raise Cancelled("stopped between two shards")
            try:
                row = said.get(timeout=TICK)
            except queue.Empty:
                continue
            if row is None:
                return
            if isinstance(row, Exception):
                raise row
            yield int(row["songs"]), int(row["broken"])
