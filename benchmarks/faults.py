"""A table of faults at two doors: what is lost, what is made twice, whether songs are the same, how long it takes.

    python -m benchmarks.faults [--only CELL ...] [--runs 16] [--moto PROGRAM] [--json FILE] [--table FILE]

Every cell is one fault at one door (`served/kill-server`, `bulk/disk-full`; `--help` lists them). It makes short songs
(2 s, 4 steps, small random weights) and does the fault when a quarter of them is done. At the served door more songs
are submitted while the fault lasts, and a server that has ended is started again after a second, as by systemd. At the
bulk door the same command is given again until it ends well. A song is *lost* if it was accepted, has not ended well
after minutes, and was not reported as failed; *doubled* if it has started or ended more than once, or is there twice.
Digests are compared with those of songs made one by one in this process. *Silence* is the longest time after the fault
in which no song was finished; the length of the fault is in it. PostgreSQL must be installed, a tmpfs takes root, and
the object store is moto's server (`--moto` names the program). A cell whose means are not there says so.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks import fault_bulk, fault_served
from benchmarks.fault_services import MOTO, SONG, Bench, Missing
from benchmarks.machine import report
from benchmarks.weights import open_weights


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        runs: accepted songs.
        failed: songs that ended with an error that says why.
        restarts: of the server, or further calls of the command.
        silence: seconds.
        said: exit codes and last words of what ended.
    """

    cell: str
    runs: int = 0
    refused: int = 0
    failed: int = 0
    lost: int = 0
    doubled: int = 0
    equal: int = 0
    restarts: int = 0
    silence: float = 0.0
    said: str = ""

    def line(self) -> str:
        """The row in Markdown."""
        numbers = (self.runs, self.refused, self.failed, self.lost, self.doubled, f"{self.equal} of {self.runs}")
        return f"| {self.cell} | {' | '.join(map(str, numbers))} | {self.restarts} | {self.silence:.1f} | {self.said} |"


HEADER = """\
| door/fault | runs | refused | failed | lost | doubled | digest equal | restarts | silence, s | said |
|---|---|---|---|---|---|---|---|---|---|"""

Cell = Callable[[Bench, Path, ExitStack], dict[str, Any]]
CELLS: dict[str, Cell] = {
    **{f"served/{name}": partial(fault_served.measure, name) for name in fault_served.FAULTS},
    **{f"bulk/{name}": partial(fault_bulk.measure, name) for name in fault_bulk.FAULTS},
}


def digests(weights: Path, first: int, end: int) -> list[str]:
    """Digests of the songs with the seeds from `first` to before `end`, made one by one with one thread."""
    from threadpoolctl import threadpool_limits

    from acestep_flows.graph.checking.check import checked
    from acestep_flows.graph.execution.run import run_plan
    from acestep_flows.graph.execution.scheduler import Scheduler
    from acestep_flows.graph.library import Library
    from acestep_flows.graph.planning.layout import lay_out
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.runtime.local import LocalRunner
    from acestep_flows.stages.registry import stages

    library = Library(working=None)
    scope = checked(library.load("text2music"), stages(), library.nested)

    async def songs() -> list[str]:
        with threadpool_limits(1), LocalRunner(Checkpoint.open(weights), threads=1) as runner:
            scheduler = Scheduler(stages(), runner)
            plans = [lay_out(scope, {**SONG, "seed": seed}) for seed in range(first, end)]
            return [str((await run_plan(scheduler, plan)).outputs["audio"].digest) for plan in plans]

    return asyncio.run(songs())


def measure(cell: str, bench: Bench) -> Row:
    """One row; what cannot be measured here says why."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, ExitStack() as stack:
        try:
            return Row(cell, **CELLS[cell](bench, Path(folder), stack))
        except Missing as error:
            return Row(cell, said=f"not measured: {error}")
        except Exception as error:  # noqa: BLE001 - one cell must not take the others along
            traceback.print_exc()
            return Row(cell, said=f"not measured: {type(error).__name__}: {str(error)[:200]}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only", nargs="+", choices=list(CELLS), default=list(CELLS), metavar="CELL", help=", ".join(CELLS)
    )
    parser.add_argument("--runs", type=int, default=16, help="songs of a cell")
    parser.add_argument("--moto", default=MOTO, metavar="PROGRAM", help="moto's server")
    parser.add_argument("--json", "--out", dest="out", metavar="FILE")
    parser.add_argument("--table", type=Path, metavar="FILE", help="also write the table here, row by row")
    arguments = parser.parse_args()
    before, rows = psutil.getloadavg(), []
    with open_weights("small") as weights, ExitStack() as stack:
        bench = Bench(weights, arguments.runs, partial(digests, weights), arguments.moto, stack)
        for cell in arguments.only:
            rows.append(measure(cell, bench))
            lines = [HEADER, *(row.line() for row in rows)]
            print(lines[-1], flush=True)
            if arguments.table:
                arguments.table.write_text("\n".join(lines) + "\n")
    loads = {"load_average": (before, psutil.getloadavg())}
    report({"faults": [asdict(row) for row in rows], **loads}, arguments.out)


if __name__ == "__main__":
    main()
