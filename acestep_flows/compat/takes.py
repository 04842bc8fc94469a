"""The songs of a run, with addresses of their files: for answers, and for webhooks, which have no request."""

from __future__ import annotations

import time
from dataclasses import dataclass

from acestep_flows.api.http.file_links import FileLinks
from acestep_flows.api.service import Service
from acestep_flows.api.store.records import AssetRecord, RunRecord
from acestep_flows.compat.links import SECONDS, file_path


@dataclass(frozen=True)
class Take:
    """One song of a run.

    Attributes:
        name: of the output.
        asset: its file.
        seed: it was made with; None if the graph has none.
        path: of its file below the root of the family, signed.
        url: the same, absolute.
    """

    name: str
    asset: AssetRecord
    seed: int | None
    path: str
    url: str


def takes_of(service: Service, record: RunRecord, address: str, owner: str | None = None) -> tuple[Take, ...]:
    """The songs of a run that has succeeded, one for each seed, with links signed anew. Blocks.

    Args:
        address: of the family, absolute.
        owner: who asks; None sees all.

    Raises:
        NotFound: a file has expired.
    """
    outputs = [output for output in record.outputs.values() if output.kind == "audio"]
    main = [output for output in outputs if output.name.partition(".")[0] == "audio"] or outputs
    links = FileLinks(service.home, service.keys)
    seeds = seeds_of(record)
    takes = []
    for at, output in enumerate(main):
        asset = service.home.assets.get(output.asset, owner)
        sig = links.sign(asset, int(time.time()) + SECONDS).partition(".")[2] if service.keys else None
        path = file_path(asset, sig)
        takes.append(Take(output.name, asset, seeds[at] if at < len(seeds) else None, path, f"{address}{path}"))
    return tuple(takes)


def seeds_of(record: RunRecord) -> list[int]:
    """The seeds of a run's songs, in the order of its takes."""
    seeds = record.inputs.get("seeds", [record.inputs.get("seed")])
    return [int(seed) for seed in seeds if seed is not None] if isinstance(seeds, (list, tuple)) else []
