"""Two callers with keys of one server, for tests of what belongs to whom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from acestep_flows.api.http.keys import Keyring, new_key
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import PATIENCE, Door, opened


@dataclass(frozen=True)
class TwoCallers:
    """A server, and clients of it: `alice` and `bob` with keys of their own, and `nobody` without one."""

    door: Door
    alice: httpx2.Client
    bob: httpx2.Client
    nobody: httpx2.Client
    alices_key: str


@contextmanager
def two_callers(root: Path, strict: Checkpoint, **more: Any) -> Iterator[TwoCallers]:
    keys = {name: new_key(name) for name in ("alice", "bob")}
    ring = Keyring([key.model_copy(update={"requests_per_minute": 100_000}) for _, key in keys.values()])
    secrets = {name: secret for name, (secret, _) in keys.items()}
    with (
        opened(root, strict, keys=ring, headers={"X-API-Key": secrets["alice"]}, **more) as door,
        httpx2.Client(base_url=door.url, headers={"X-API-Key": secrets["bob"]}, timeout=PATIENCE) as bob,
        httpx2.Client(base_url=door.url, timeout=PATIENCE) as nobody,
    ):
        yield TwoCallers(door, door.client, bob, nobody, secrets["alice"])
