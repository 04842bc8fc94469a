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
    parser.add_argument("--first", type=int, default=0, help="number of the first clip; settings are chosen on others")
    parser.add_argument("--only", nargs="+", choices=tuple(MEASUREMENTS), default=list(MEASUREMENTS))
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="sampling settings, in place of those of graphs and checkpoint",
    )
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", help="results as JSON")
    parser.add_argument("--table", type=Path, help="results as a markdown table")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    keep_freed_memory()
    settings = options(asked.set)
    scores: list[Score] = []
    with Player(asked.checkpoint, settings, asked.dtype) as player:
        material = Material(
            player, asked.clips, asked.pairs, asked.first, lambda text: print(f"\r{text:60}", end="", file=sys.stderr)
        )
        for name in asked.only:
            scores += MEASUREMENTS[name](material)
            if asked.table:  # after each: what was measured stays, whatever comes
                asked.table.write_text(markdown(scores))
    print(file=sys.stderr)
    print(markdown(scores))
    report({"sampling": settings, "seconds": LENGTH, "scores": [score.entry() for score in scores]}, asked.out)


if __name__ == "__main__":
    main()
