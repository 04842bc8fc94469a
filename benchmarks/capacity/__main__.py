"""The command line of the simulation."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from acestep_flows.errors import FlowsError
from acestep_flows.runtime.serving.pool import Pool
from benchmarks.capacity import costs, mix
from benchmarks.capacity.check import compare
from benchmarks.capacity.simulate import GPUS_OF_A_MACHINE, Load, capacity, simulate
from benchmarks.machine import report

AT = 0.8
"""Share of the capacity at which latencies are told."""

NEXT = 3
"""Limits that are told beside the one that holds."""


def of_sizes(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Capacity and limits for each number of GPUs.

    Raises:
        InputError: an argument is not usable.
    """
    kinds = mix.read(arguments.mix) if arguments.mix else mix.DEFAULT
    cost = costs.of_card(arguments.card)
    if arguments.measured:
        cost = costs.of_gpu_file(arguments.measured, cost)
    cost = costs.with_given(cost, arguments.set)
    pool, rows = Pool.read(arguments.pool), []
    for gpus in arguments.gpus:
        machines = max(1, gpus // GPUS_OF_A_MACHINE)
        most = capacity(kinds, pool, cost, arguments.seconds, machines)
        eased = simulate(kinds, pool, cost, AT * most.rate, arguments.seconds, machines=machines)
        rows.append(_row(gpus, most, eased))
        print(_told(rows[-1]), file=sys.stderr, flush=True)
    return rows


def _row(gpus: int, most: Load, eased: Load) -> dict[str, Any]:
    limits = {name: round(rate, 2) for name, rate in most.limits.items()}
    return {
        "gpus": gpus,
        "runs_per_second": round(most.ended, 2),
        "limits": limits,
        "use": {name: round(share, 3) for name, share in most.use.items()},
        f"p50_at_{AT:.0%}": round(eased.p50, 2),
        f"p99_at_{AT:.0%}": round(eased.p99, 2),
    }


def _told(row: dict[str, Any]) -> str:
    limits = [f"{name} {rate:g}" for name, rate in list(row["limits"].items())[: NEXT + 1]]
    return f"{row['gpus']} GPUs: {row['runs_per_second']:g} runs a second; limits of the parts: {', '.join(limits)}"


def checked(arguments: argparse.Namespace) -> dict[str, Any]:
    """The simulation beside a real server of this machine."""
    cost, _, comparisons = compare(arguments.checkpoint, arguments.songs)
    for one in comparisons:
        print(f"{one.what}: simulated {one.simulated:.3g}, seen {one.seen:.3g}, ratio {one.ratio:.2f}", file=sys.stderr)
    return {
        "costs": asdict(cost),
        "comparisons": [{**asdict(one), "ratio": round(one.ratio, 3)} for one in comparisons],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.capacity", description="How many runs a second GPUs make, and what ends first."
    )
    parser.add_argument("--gpus", type=int, nargs="+", default=[8, 64, 512], help="in machines of eight")
    parser.add_argument("--card", default="H200", help=", ".join(costs.CARDS))
    parser.add_argument("--measured", type=Path, metavar="FILE", help="what `benchmarks.gpu --json FILE` has measured")
    parser.add_argument("--mix", type=Path, metavar="FILE", help=f"JSON: {mix.ALLOWED}")
    parser.add_argument("--set", action="append", default=[], metavar="COST=SECONDS", help="another cost, as row=0.005")
    parser.add_argument("--pool", default="gpu-pool", help="of each machine: shipped, or a file")
    parser.add_argument("--seconds", type=float, default=120.0, help="of simulated time")
    parser.add_argument("--check", action="store_true", help="compare with a real server on this machine instead")
    parser.add_argument("--checkpoint", default="small", help="of the check: nano, small, middle, or a folder")
    parser.add_argument("--songs", type=int, default=40, help="of the check, alone")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    try:
        found = {"check": checked(arguments)} if arguments.check else {"capacity": of_sizes(arguments)}
    except FlowsError as error:
        parser.error(str(error))
    report(found, arguments.out)


if __name__ == "__main__":
    main()
