"""Run benchmarks by name, all of them by default, and keep their results.

python -m benchmarks [song decode_memory scheduler engine ...] [--results DIR]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
SCRIPTS = sorted(file.stem for file in FOLDER.glob("[a-z]*.py") if "\ndef main(" in file.read_text())


def main(" in path.read_text() and path.stem != "__main__"
)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("names", nargs="*", default=SCRIPTS, metavar="NAME", help=", ".join(SCRIPTS))
    parser.add_argument("--results", type=Path, default=Path("build/benchmarks"), help="folder for the JSON files")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(SCRIPTS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(SCRIPTS)}")
    asked.results.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in asked.names:
        out = asked.results / f"{name}.json"
        print(f"== {name} -> {out}", flush=True)
        failed += (
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}", "--out", str(out)], check=False).returncode != 0
        )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
