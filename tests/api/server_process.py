"""The server with its stages in the same process, over any checkpoint: also as a process of its own.

python -m tests.api.server_process HOME CHECKPOINT POOL GRAPHS
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from acestep_flows.api.server.options import ServerOptions
from acestep_flows.api.server.server import serve_forever
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.settings import read_settings


class Here(LocalRunner):
    """Runs the stages in this process instead of a pool."""

    async def stats(self) -> Mapping[str, Any]:
        return {}


def no_ray(*hardware: float) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def tell(line: str, url: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(home: str, checkpoint: str, pool: str, graphs: str) -> None:
    options = ServerOptions(host="127.0.0.1", port=0, home=Path(home), pool=pool, folders=(Path(graphs),))
    opened = Checkpoint.open(Path(checkpoint), paths=False)
    with (
        patch("acestep_flows.api.server.server.local_ray", no_ray),
        patch("acestep_flows.api.server.server.deploy", lambda args: Here(opened, workers=2)),
    ):
        serve_forever(options, read_settings(), tell)


if __name__ == "__main__":
    main(*sys.argv[1:])
