"""Run a program that was written for v1: `python -m acestep_flows.compat.v1 SCRIPT ARGS`.

While it runs, `acestep.pipeline_ace_step` and `acestep.data_sampler` are answered for by this package. Nothing called
`acestep` is installed, and what is there under this name is left out.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from acestep_flows.compat.v1.pipeline import ACEStepPipeline
from acestep_flows.compat.v1.sampler import DataSampler
from acestep_flows.errors import FlowsError

PACKAGE = "acestep"
NAMES: dict[str, dict[str, Any]] = {
    "pipeline_ace_step": {"ACEStepPipeline": ACEStepPipeline},
    "data_sampler": {"DataSampler": DataSampler},
}
"""What programs import, by module."""

USAGE = "usage: python -m acestep_flows.compat.v1 SCRIPT [ARGS]"


@contextmanager
def answering_for_v1() -> Iterator[None]:
    """Answer for v1's modules while the context lasts."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == PACKAGE}
    for name in before:
        del sys.modules[name]
    package = _module(PACKAGE, {})
    package.__path__ = []
    for name, content in NAMES.items():
        setattr(package, name, _module(f"{PACKAGE}.{name}", content))
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]
        sys.modules.update(before)


def _module(name: str, content: dict[str, Any]) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(content)
    sys.modules[name] = module
    return module


def main(arguments: Sequence[str]) -> int:
    """Run a program with its arguments. Returns the exit status."""
    if not arguments or arguments[0] in ("-h", "--help"):
        (sys.stdout if arguments else sys.stderr).write(f"{USAGE}\n")
        return 0 if arguments else 2
    script = Path(arguments[0])
    if not script.is_file():
        sys.stderr.write(f"error: {script}: no such file; {USAGE}\n")
        return 2
    sys.argv = list(arguments)
    sys.path[0] = str(script.resolve().parent)
    try:
        with answering_for_v1():
            runpy.run_path(str(script), run_name="__main__")
    except FlowsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
