"""Signatures of webhooks by Standard Webhooks (https://www.standardwebhooks.com), version v1: HMAC-SHA256."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from acestep_flows.errors import InputError
from acestep_flows.settings import WEBHOOK_SECRET

PREFIX = "whsec_"


def signing_key(secret: str) -> bytes:
    """The key of a secret: the bytes that the base64 after `whsec_` encodes; any other text is the key itself.

    Raises:
        InputError: what follows `whsec_` is not base64. The message has nothing of the secret.
    """
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        text = secret.removeprefix(PREFIX)
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise InputError("not a secret", where=WEBHOOK_SECRET, allowed=f"{PREFIX} and base64, or any text without it")
    return key


def sign(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """The value of the header `webhook-signature`: `v1,` and the base64 HMAC of `id.timestamp.body`.

    Raises:
        InputError: the secret is not usable.
    """
    content = f"{id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(signing_key(secret), content, hashlib.sha256).digest()).decode()
