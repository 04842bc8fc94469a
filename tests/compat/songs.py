"""Keys, addresses, and songs that are quickly made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from acestep_flows.compat.spoken import family_path
from tests.api.door import Door
from tests.served.server import Server

KEYS = {"alice": "alice-has-a-key-of-her-own-0001", "bob": "bob-has-another-key-of-his-0002"}
WEBHOOK_SECRET = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cy1vZi1jb21wYXQ="

SECONDS, STEPS = 2, 3
"""Length and steps of a song of the tests: as short as it still says something."""

INPUTS: Mapping[str, Any] = {"tags": "lofi, piano", "duration": SECONDS, "steps": STEPS, "seed": 7}
"""The same as inputs of text2music."""


def root_of(door: Door | Server, family: str) -> str:
    """The absolute address of a family on the server's own port."""
    return f"{door.url}{family_path(family)}"


def port_of(server: Server, family: str) -> str:
    """The absolute address of a family at a port of its own, as the greeting says it."""
    found = re.search(rf"; {family} at (http://[0-9.]+:\d+)", server.said)
    assert found, server.said
    return found[1]


def own_song(door: Door, **changes: Any) -> dict[str, Any]:
    """A finished run of our own interface, for families to be given as a source."""
    return door.finished("text2music", {**INPUTS, **changes}, format="wav")
