"""The encode job over several processes: a Ray Data job whose rows are shards. Only this module needs Ray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from acestep_flows.runtime.bulk.cluster import cluster
from acestep_flows.training.encode import Encoder, EncodeRecipe, encode_shard


class _Shards:
    """What each actor does: it keeps an encoder and writes the shards it is given."""

    def __init__(self, recipe: str, folder: str) -> None:
        import torch

        torch.set_num_threads(1)
        self._encoder = Encoder(EncodeRecipe.model_validate_json(recipe))
        self._folder = Path(folder)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        songs, broken = encode_shard(self._encoder, self._folder, int(row["shard"]))
        return {"songs": songs, "broken": broken}


def encode_shards(recipe: EncodeRecipe, folder: Path, shards: Sequence[int], workers: int) -> Iterator[tuple[int, int]]:
    """Encode `shards` in `workers` processes; gives the number of songs and of broken ones after each."""
    if not shards:
        return
    with cluster(workers):
        import ray.data

        rows = ray.data.from_items([{"shard": number} for number in shards], override_num_blocks=len(shards))
        made = rows.map(
            _Shards,  # type: ignore[arg-type]
            fn_constructor_args=(recipe.model_dump_json(), str(folder.resolve())),
            compute=ray.data.ActorPoolStrategy(size=workers),
        )
        for row in made.iter_rows():
            yield int(row["songs"]), int(row["broken"])
