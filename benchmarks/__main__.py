"""Run benchmarks by name, and keep their results. By default all but `faults`, `soak` and `store`, which take long, and
`gpu`, which needs one.

python -m benchmarks [NAME ...] [--results DIR]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

SHARED = {
    "__init__", "__main__", "fault_bulk", "fault_served", "fault_services", "gpu_device", "gpu_networks", "gpu_passes",
    "machine", "plain", "store_filling", "weights",
}  # fmt: skip
LONG = {"faults", "gpu", "soak", "store"}
SCRIPTS = sorted(file.stem for file in Path(__file__).parent.glob("*.py") if file.stem not in SHARED)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Run benchmarks and keep their results.")
    parser.add_argument(
        "names",
        nargs="*",
        default=[name for name in SCRIPTS if name not in LONG],
        metavar="NAME",
        help=", ".join(SCRIPTS),
    )
    parser.add_argument("--results", type=Path, default=Path("build/benchmarks"), help="folder for the JSON files")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(SCRIPTS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(SCRIPTS)}")
    arguments.results.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in arguments.names:
        out = arguments.results / f"{name}.json"
        print(f"== {name} -> {out}", flush=True)
        process = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", "--out", str(out)], check=False)
        failed |= process.returncode
    return int(failed != 0)


if __name__ == "__main__":
    sys.exit(main())
