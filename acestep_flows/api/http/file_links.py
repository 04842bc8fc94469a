"""Links to files that work without an API key until they expire.

A link names an asset and a time. Its signature covers both, the owner, and the digest of the owner's key, so a revoked
key ends its links.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time

from acestep_flows.api.http.keys import Keyring
from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import AssetRecord
from acestep_flows.api.store.sessions import link_secret
from acestep_flows.errors import NotFound

_TOKEN = re.compile(r"(asset-[0-9a-f]{26})\.([0-9]{1,12})\.([0-9a-f]{64})")


class FileLinks:
    """Signs links and opens them. The methods block."""

    def __init__(self, home: Home, keys: Keyring) -> None:
        self._home, self._keys = home, keys
        self._secret: bytes | None = None

    def sign(self, asset: AssetRecord, expires_at: int) -> str:
        """The token of a link to an asset.

        Args:
            expires_at: seconds since the epoch.
        """
        return f"{asset.id}.{expires_at}.{self._signature(asset, expires_at)}"

    def open(self, token: str) -> AssetRecord:
        """The asset of a link.

        Raises:
            NotFound: the link is not one of this server, has expired, or its file or key is gone.
        """
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise NotFound("no such link")
        id, expires_at, signature = match[1], int(match[2]), match[3]
        try:
            asset = self._home.assets.get(id)
        except NotFound:
            raise NotFound("no such link, or its file is gone") from None
        if not hmac.compare_digest(self._signature(asset, expires_at), signature):
            raise NotFound("no such link, or its file is gone")
        if expires_at <= time.time():
            raise NotFound("the link has expired")
        return asset

    def _signature(self, asset: AssetRecord, expires_at: int) -> str:
        if self._secret is None:
            self._secret = link_secret(self._home.database)
        key = self._keys.named(asset.owner)
        signed = f"{asset.id}\n{expires_at}\n{asset.owner}\n{key.sha256 if key is not None else bool(self._keys)}"
        return hmac.new(self._secret, signed.encode(), hashlib.sha256).hexdigest()
