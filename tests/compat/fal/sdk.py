"""fal's SDK, made to find a server behind a proxy by its own environment."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest

from tests.compat.tls import Proxy


def sdk(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package, imported anew: it reads its environment then."""
    monkeypatch.setenv("FAL_RUN_HOST", f"{proxy.host}/compat/fal/run")
    monkeypatch.setenv("FAL_QUEUE_RUN_HOST", f"{proxy.host}/compat/fal/queue")
    monkeypatch.setenv("SSL_CERT_FILE", str(proxy.certificate))
    for name in [name for name in sys.modules if name.partition(".")[0] == "fal_client"]:
        monkeypatch.delitem(sys.modules, name)
    return importlib.import_module("fal_client")
