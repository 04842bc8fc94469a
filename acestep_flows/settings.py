"""Paths and secrets from the environment: the one module that reads environment variables.

    ACESTEP_FLOWS_CACHE           folder for fetched weights and cached results
    ACESTEP_FLOWS_CHECKPOINT      folder of the weights, unless --checkpoint or Session(weights=...) names them
    ACESTEP_FLOWS_LYRIC_VOCAB     vocabulary of the lyric tokenizer, where it does not lie in the checkpoint
    ACESTEP_FLOWS_API_KEYS        API keys that a server accepts: name=key, comma separated
    ACESTEP_FLOWS_API_KEY_FILE    a JSON file with digests of such keys
    ACESTEP_FLOWS_WEBHOOK_SECRET  secret that signs webhooks
    ACESTEP_FLOWS_DATABASE        URL of a server's run table, unless --database names it
    ACESTEP_FLOWS_ARTIFACTS       URL of a server's artifact store, unless --artifacts names it
    ACESTEP_FLOWS_PRODUCTS        who makes the denoiser's large products on a processor: torch, onednn, or auto
    ACESTEP_FLOWS_SERVER          address of the server that client commands ask, unless --server names it
    ACESTEP_FLOWS_API_KEY         API key that client commands send
    HF_TOKEN                      hub token, sent only to the hub
    OTEL_EXPORTER_OTLP_ENDPOINT   where a server sends traces; OpenTelemetry reads its other variables
    HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY
                                  proxies, as usual; never for a server on this machine

What to compute and where is never set here; graphs, inputs of requests and pool files say it. Products are the one
exception, as they are a matter of a machine.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

from acestep_flows.errors import InputError
from acestep_flows.storage import user_path

CACHE = "ACESTEP_FLOWS_CACHE"
CHECKPOINT = "ACESTEP_FLOWS_CHECKPOINT"
LYRIC_VOCAB = "ACESTEP_FLOWS_LYRIC_VOCAB"
API_KEYS = "ACESTEP_FLOWS_API_KEYS"
API_KEY_FILE = "ACESTEP_FLOWS_API_KEY_FILE"
WEBHOOK_SECRET = "ACESTEP_FLOWS_WEBHOOK_SECRET"
DATABASE = "ACESTEP_FLOWS_DATABASE"
ARTIFACTS = "ACESTEP_FLOWS_ARTIFACTS"
PRODUCTS = "ACESTEP_FLOWS_PRODUCTS"
SERVER = "ACESTEP_FLOWS_SERVER"
API_KEY = "ACESTEP_FLOWS_API_KEY"
TOKEN = "HF_TOKEN"
TRACES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
"""The usual variables for proxies, also in lower case."""


Products = Literal["auto", "torch", "onednn"]
"""As `Placement.products`."""


@dataclass(frozen=True)
class Settings:
    """The settings of the environment; nothing is looked up on disk."""

    cache: Path
    checkpoint: Path | None = None
    lyric_vocab: Path | None = None
    hub_token: str | None = field(default=None, repr=False)
    api_keys: str | None = field(default=None, repr=False)
    api_key_file: Path | None = None
    webhook_secret: str | None = field(default=None, repr=False)
    products: Products = "auto"
    server: str | None = None
    api_key: str | None = field(default=None, repr=False)
    database: str | None = field(default=None, repr=False)
    artifacts: str | None = field(default=None, repr=False)
    traces: bool = False

    @property
    def results(self) -> Path:
        """Folder of results stored on disk."""
        return self.cache / "results"


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in `environ`; an empty variable counts as absent, `~` is the home folder.

    Raises:
        InputError: a path that no file system has (a null byte, an unknown home), a token that no header can carry, or
            products by a library that there is not.
    """
    token = environ.get(TOKEN, "").strip() or None
    if token and not (token.isascii() and token.isprintable()):
        raise InputError("not a token", where=TOKEN, allowed="printable ASCII")
    cache = _path(environ, CACHE)
    if cache is None:
        base = _path(environ, "XDG_CACHE_HOME") or _expanded("~/.cache", CACHE)
        cache = base / "acestep-flows"
    return Settings(
        cache,
        _path(environ, CHECKPOINT),
        _path(environ, LYRIC_VOCAB),
        token,
        environ.get(API_KEYS, "").strip() or None,
        _path(environ, API_KEY_FILE),
        environ.get(WEBHOOK_SECRET, "").strip() or None,
        _products(environ),
        environ.get(SERVER, "").strip() or None,
        environ.get(API_KEY, "").strip() or None,
        environ.get(DATABASE, "").strip() or None,
        environ.get(ARTIFACTS, "").strip() or None,
        any(environ.get(name, "").strip() for name in TRACES),
    )


def check_proxies(environ: Mapping[str, str] = os.environ) -> None:
    """Check that the proxies in the environment can be used, before a client of HTTP is made.

    Raises:
        InputError: one cannot.
    """
    if "*" in {environ.get(name, "").strip() for name in ("no_proxy", "NO_PROXY")}:
        return
    for name in (each for proxy in PROXIES for each in (proxy, proxy.lower())):
        scheme, separator, _ = environ.get(name, "").strip().partition("://")
        if not separator or scheme in ("http", "https"):
            continue
        if scheme not in ("socks5", "socks5h"):
            raise InputError(f"not a proxy: {scheme[:20]}://...", where=name, allowed="http, https or socks5")
        if importlib.util.find_spec("socksio") is None:
            allowed = "an http proxy, or after pip install socksio; NO_PROXY names hosts without one"
            raise InputError("a SOCKS proxy needs the package socksio", where=name, allowed=allowed)


def use_no_proxy_for(hosts: Sequence[str]) -> None:
    """Have this process, and those it starts, reach some hosts without a proxy."""
    for name in ("no_proxy", "NO_PROXY"):
        listed = [host for host in os.environ.get(name, "").split(",") if host.strip()]
        known = {host.strip() for host in listed}
        if "*" not in known:
            os.environ[name] = ",".join([*listed, *(host for host in hosts if host not in known)])


@contextmanager
def hidden(names: Sequence[str]) -> Iterator[dict[str, str | None]]:
    """Take variables out of the environment for a while. At the end they are what they were, or absent. Gives them."""
    before = {name: os.environ.pop(name, None) for name in names}
    try:
        yield before
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def defaulted(name: str, value: str) -> Iterator[str]:
    """Set a variable for a while, unless the environment has it. Gives what it is now."""
    is_new = name not in os.environ
    try:
        yield os.environ.setdefault(name, value)
    finally:
        if is_new:
            os.environ.pop(name, None)


def is_set(name: str) -> bool:
    """Whether the environment has a variable."""
    return name in os.environ


def _products(environ: Mapping[str, str]) -> Products:
    text = environ.get(PRODUCTS, "").strip() or "auto"
    for products in get_args(Products):
        if text == products:
            return cast("Products", products)
    raise InputError(f"no library {text[:40]!r}", where=PRODUCTS, allowed=", ".join(get_args(Products)))


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    text = environ.get(name, "")
    return _expanded(text, name) if text.strip() else None


def _expanded(text: str, name: str) -> Path:
    return user_path(text, name).absolute()


@contextmanager
def variable(name: str, value: str) -> Iterator[None]:
    """Set a variable of a library while it is imported, unless the user has set it."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
