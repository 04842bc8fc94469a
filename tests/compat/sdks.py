"""SDKs in tests: their connections are closed in the end, which they leave to the end of a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx


@contextmanager
def closing() -> Iterator[Callable[[Any], Any]]:
    """A function to hand each client of an SDK to, which returns it."""
    clients: list[Any] = []

    def keep(client: Any) -> Any:
        clients.append(client)
        return client

    yield keep
    for client in clients:
        for part in vars(client).values():
            if isinstance(part, httpx.Client):
                part.close()
