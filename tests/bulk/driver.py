"""A job in a process of its own, to be killed: `python -m tests.bulk.driver FOLDER WEIGHTS ROWS`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from acestep_flows.bulk.driver import run_job
from acestep_flows.bulk.pool_renderer import PoolRenderer
from acestep_flows.runtime.bulk.pipeline import local_pool
from acestep_flows.weights.choose import Weights
from tests.bulk.jobs import rows_in


def songs(count: int) -> list[dict[str, Any]]:
    """Short ones, all different."""
    words = {"lyrics": "[verse]\nhello", "duration": 1.0, "steps": 20}
    return [{"id": f"r{number}", "tags": "funk, pop", "seed": number, **words} for number in range(count)]


def main(folder: Path, root: Path, count: int) -> None:
    weights = Weights("argument", root, None, folder / "cache")
    work, rows = rows_in(folder, songs(count), weights=weights)
    outcome = run_job(work, rows, PoolRenderer(work, local_pool(1)))
    sys.stdout.write(f"{outcome.progress.done} {outcome.progress.resumed}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
