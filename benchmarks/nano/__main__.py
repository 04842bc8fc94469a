"""Measure a checkpoint; see the package."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from acestep_flows.model.allocator import keep_freed_memory
from benchmarks.machine import report
from benchmarks.nano.material import LENGTH, Material, options
from benchmarks.nano.player import Player
from benchmarks.nano.scores import MEASUREMENTS
from benchmarks.nano.table import Score, markdown


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a small checkpoint has learnt.")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=192, help="captions for text2music")
    parser.add_argument("--pairs", type=int, default=48, help="clips for control branches, edits and lyrics")
    parser.add_argument("--first", type=int, default=0, help="number of the first clip; choose settings on other clips")
    parser.add_argument("--only", nargs="+", choices=tuple(MEASUREMENTS), default=list(MEASUREMENTS))
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="sampling settings that replace those of graphs and checkpoint",
    )
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", help="results as JSON")
    parser.add_argument("--table", type=Path, help="results as a markdown table")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    settings = options(arguments.set)
    scores: list[Score] = []
    with Player(arguments.checkpoint, settings, arguments.dtype) as player:
        material = Material(
            player,
            arguments.clips,
            arguments.pairs,
            arguments.first,
            lambda text: print(f"\r{text:60}", end="", file=sys.stderr),
        )
        for name in arguments.only:
            scores += MEASUREMENTS[name](material)
            if arguments.table:  # after each, so that results are kept if a later one fails
                arguments.table.write_text(markdown(scores))
    print(file=sys.stderr)
    print(markdown(scores))
    report({"sampling": settings, "seconds": LENGTH, "scores": [score.entry() for score in scores]}, arguments.out)


if __name__ == "__main__":
    main()
