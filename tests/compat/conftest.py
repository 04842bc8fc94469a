"""Servers that speak every family, with acestep-nano behind them.

`door` and `keyed` are in this process, behind real sockets, and start in a second. `server` is a process of its own
with the pool, as `serve` starts it: for ports, greetings, and a server that is killed in the middle. All end with these
tests: an executor looks for runs many times a second, and Ray's processes work also when nobody asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acestep_flows.api.http.keys import Key, Keyring, digest_of
from acestep_flows.api.http.model_card import ModelCard
from acestep_flows.api.options import ApiOptions
from acestep_flows.compat.spoken import families
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.embedded import NAME, embedded_checkpoint
from acestep_flows.stages.diffusion import sampler_options
from tests.api.door import Door, opened
from tests.compat.songs import KEYS, WEBHOOK_SECRET
from tests.served.server import Server, cache_with, running, serving

AT_PORTS = ("v1", "acestep15")
"""Families whose clients know only a port."""


@pytest.fixture(scope="session")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """acestep-nano, as a server opens it."""
    return Checkpoint.open(embedded_checkpoint(), cache=tmp_path_factory.mktemp("digests"), paths=False)


@pytest.fixture(scope="session")
def card(nano: Checkpoint) -> ModelCard:
    """What a server says about it."""
    return ModelCard(NAME, sampling=sampler_options(nano, {}).model_dump(mode="json"))


@pytest.fixture(scope="package")
def door(nano: Checkpoint, card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server without keys that speaks every family. Private addresses may be fetched."""
    options = ApiOptions(speak=families(), private_fetches=True, private_webhooks=True)
    with opened(
        tmp_path_factory.mktemp("door"),
        nano,
        options=options,
        model_card=lambda: card,
        webhook_secret=WEBHOOK_SECRET,
    ) as door:
        yield door


@pytest.fixture(scope="package")
def keyed(nano: Checkpoint, card: ModelCard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server with the keys of two callers (`songs.KEYS`) that speaks every family. Its client sends no key."""
    keys = [Key(name=name, sha256=digest_of(key), requests_per_minute=100_000) for name, key in KEYS.items()]
    options = ApiOptions(speak=families())
    root = tmp_path_factory.mktemp("keyed")
    with opened(root, nano, options=options, keys=Keyring(keys), model_card=lambda: card) as door:
        yield door


@pytest.fixture(scope="package")
def the_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    cache = cache_with(embedded_checkpoint(), tmp_path_factory.mktemp("cache"))
    options = tuple(word for name in families() for word in ("--speak", f"{name}=0" if name in AT_PORTS else name))
    with serving(folder, cache, options) as server:
        yield server


@pytest.fixture
def server(the_server: Server) -> Server:
    """A running server of its own process, without keys. Families of `AT_PORTS` have a port there (`songs.port_of`)."""
    return running(the_server)


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """A file with two seconds of a tone."""
    from tests.api.door import sound

    path = tmp_path / "tone.wav"
    path.write_bytes(sound(2.0))
    return path
